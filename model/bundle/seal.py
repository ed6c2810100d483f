"""The seal of a bundle: `sha256.txt` names every file with its sha256, in the form that `sha256sum -c` reads.

The sha256 of the seal itself is the digest of the bundle. It covers weights, architecture, preprocessing, calibration
and card, so two bundles that could give different results, or say different things, never share a digest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import BundleError

WEIGHTS, MANIFEST, CARD = "weights.safetensors", "bundle.json", "card.md"
IDENTITY, IDENTITY_WEIGHTS = "identity.json", "identity.safetensors"
SEAL = "sha256.txt"
REQUIRED = (MANIFEST, CARD, WEIGHTS)
OPTIONAL = (IDENTITY, IDENTITY_WEIGHTS)


def fault(subject: Path, code: str, reason: str, cure: str) -> BundleError:
    """A refusal that names a file or a folder of a bundle."""
    return BundleError(code=code, subject=str(subject), reason=reason, cure=cure)


def render(files: Mapping[str, bytes]) -> bytes:
    """The text of the seal over these files."""
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode("ascii")


def digest_of(seal: bytes) -> str:
    """The digest that names the bundle in every result: sha256 (hex) of the seal."""
    return hashlib.sha256(seal).hexdigest()


def stated_digest(folder: Path) -> str | None:
    """The digest that the folder states, from one small file and without a check; None where it states none."""
    try:
        return digest_of((folder / SEAL).read_bytes())
    except OSError:
        return None


def read_stated(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says, without a check, for a list; empty where it says nothing."""
    try:
        stated = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return stated if isinstance(stated, dict) else {}


def read_sealed(folder: Path) -> tuple[dict[str, bytes], str]:
    """Every file of a bundle, read once and compared with its seal, and the bundle's digest.

    What is returned is what was hashed: nothing is read a second time.

    Raises:
        BundleError: missing (a file is not there), digest (a file was changed or cut short), schema (the seal cannot
            be read); each names the file.
    """
    files = {}
    for name in (*REQUIRED, SEAL):
        if not (folder / name).is_file():
            cure = "Install the bundle again, or name another."
            if name == SEAL and (folder / MANIFEST).is_file():
                cure = "A bundle without a seal cannot be told from a changed one; write it again with this version."
            raise fault(folder, "missing", f"{name} is not there", cure)
    for name in (*REQUIRED, *OPTIONAL):
        try:
            if (folder / name).is_file():
                files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise fault(
                folder / name, "missing", f"it cannot be read ({error.strerror or error})",
                "Give this user the right to read it.",
            ) from error  # fmt: skip
    seal = (folder / SEAL).read_bytes()
    stated = _parse(folder, seal)
    for name in sorted(set(stated) | set(files)):
        if name not in files:
            raise fault(
                folder, "missing", f"{name} is not there, although {SEAL} names it",
                "Install the bundle again, or name another.",
            )  # fmt: skip
        found = hashlib.sha256(files[name]).hexdigest()
        if stated.get(name) != found:
            says = f"{SEAL} says {stated[name][:12]}" if name in stated else f"{SEAL} does not name it"
            raise fault(
                folder / name, "digest", f"it has sha256 {found[:12]}, {says}: it was changed or cut short",
                "Restore the bundle from where it came; do not use it.",
            )  # fmt: skip
    return files, digest_of(seal)


def _parse(folder: Path, seal: bytes) -> dict[str, str]:
    """File name -> sha256. The seal must be exactly what `render` writes, so that no byte of it is free."""
    try:
        lines = [line.partition("  ") for line in seal.decode("ascii").splitlines()]
    except UnicodeDecodeError:
        lines = []
    stated = {name: value for value, _, name in lines}
    again = "".join(f"{stated[name]}  {name}\n" for name in sorted(stated)).encode("ascii")
    if again != seal or not set(REQUIRED) <= set(stated) <= {*REQUIRED, *OPTIONAL}:
        raise fault(
            folder / SEAL, "digest", "it is not the list of this bundle's files: it was changed or cut short",
            "Restore the bundle from where it came; do not use it.",
        )  # fmt: skip
    return stated


def write_sealed(folder: Path, files: Mapping[str, bytes]) -> str:
    """Write the files and, last, their seal, each whole or not at all; gives the bundle's digest.

    A bundle that was there is unsealed first: a crash leaves a folder that is refused, never a mixture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SEAL).unlink(missing_ok=True)
    for name in OPTIONAL:
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    seal = render(files)
    for name, content in (*sorted(files.items()), (SEAL, seal)):
        part = folder / (name + ".part")
        with part.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        part.rename(folder / name)
    return digest_of(seal)


def copy_sealed(source: Path, target: Path) -> str:
    """Copy a bundle to a new folder, whole and verified; gives its digest.

    Raises:
        BundleError: the bundle is not whole.
    """
    return write_sealed(target, read_sealed(source)[0])
