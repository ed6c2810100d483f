"""What a prepared archive holds, with the digest of every file, and how it was made."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from model.imaging.grid import KEEP_MM, THICK_MM, WORK_MM
from model.imaging.normalise import CEILING, PERCENTILE, QUANTILES
from training.errors import TrainingError

SCHEMA = 1
MANIFEST, SPLITS, SALT, CASES, EXCLUDED = "manifest.json", "splits.json", "salt", "cases", "excluded"
PACKAGES = ("medk2n", "numpy", "scipy", "simpleitk", "torch", "nibabel", "pydicom", "deepbet")
BLOCK = 1 << 20


def preprocessing() -> dict[str, Any]:
    """What was done to every image: these constants of `model.imaging` are the node's own."""
    return {
        "percentile": PERCENTILE,
        "inside": "brain",
        "ceiling": CEILING,
        "quantiles": list(QUANTILES),
        "keep_mm": list(KEEP_MM),
        "in_plane_mm": WORK_MM,
        "thick_mm": THICK_MM,
        "stored_as": "float16",
    }


def versions() -> dict[str, str]:
    """The versions that made the archive."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "from a checkout"
    return found


def digest_of(path: Path) -> str:
    """sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def files_of(folder: Path) -> dict[str, dict[str, Any]]:
    """name -> sha256 and bytes of every file of a case."""
    return {
        path.name: {"sha256": digest_of(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def fingerprint_of(cases: Mapping[str, Any], splits: Mapping[str, str]) -> str:
    """One digest of all that a training sees: every byte of the cases, and who is on which side."""
    seen = {
        "cases": {
            name: {file: facts["sha256"] for file, facts in one["files"].items()}
            for name, one in cases.items()
        },
        "splits": dict(splits),
    }
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def write_manifest(document: Mapping[str, Any], folder: Path) -> None:
    """Aside first, then renamed: whoever reads it sees the old one or the new one."""
    part = folder / f".{MANIFEST}.part"
    part.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    part.rename(folder / MANIFEST)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared archive.

    Raises:
        TrainingError: there is none, or it cannot be read.
    """
    try:
        document: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        if document["schema"] != SCHEMA or not isinstance(document["cases"], dict):
            raise ValueError(f"schema {document['schema']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        missing = not (folder / MANIFEST).exists()
        raise TrainingError(
            code="no_archive" if missing else "manifest",
            subject=str(folder),
            reason="it is no prepared archive: it holds no manifest.json"
            if missing
            else f"its manifest cannot be read ({error})",
            cure=f"Make it with `medk2n train prepare DIR {folder}`",
        ) from error
    return document
