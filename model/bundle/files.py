"""A bundle opened and written: `bundle.json` (everything but the numbers), `weights.safetensors`, `card.md`,
`identity.json` with `identity.safetensors` where it has a judge of identity, and the seal `sha256.txt` over all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.bundle.facts import SCHEMA, check_facts, check_tables, read_config, read_manifest, tables
from model.bundle.seal import (
    CARD,
    IDENTITY,
    IDENTITY_WEIGHTS,
    MANIFEST,
    OPTIONAL,
    WEIGHTS,
    fault,
    read_sealed,
    write_sealed,
)
from model.calibration import Calibration, read_calibration
from model.identity import Identity, read_identity
from model.network import MedK2N

#: Statistics keep their precision: a percentage of a decibel decides which source is the key.
_EXACT = frozenset({"history", "key_score"})


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A network with its facts.

    Attributes:
        digest: sha256 (hex) of the seal over all files; it names the model in every result.
        contrasts: what it can take and make.
        sites: site name -> number; 0 is the unknown site.
        key_preference: [source][target] -> validated single-source score P[i, j] in dB.
        combine: "mean" of the heads, or "choose" the head of best expected quality per volume.
        stored_scale: stored value that stands for the target's 99.5th percentile inside the brain.
        worst_expected_error: expected mean error (in units of that percentile) above which it abstains.
        interval_factor: calibrated widening of the interval, None where uncalibrated.
        identity: the judge of identity, None where the bundle has none.
        calibration: factors by (target, sources, site) and limits of what is known; None where nothing was measured.
        manifest: the whole of bundle.json. card: the text of card.md.
    """

    network: MedK2N
    digest: str
    name: str
    version: str
    contrasts: tuple[str, ...]
    sites: Mapping[str, int]
    key_preference: Mapping[str, Mapping[str, float]]
    combine: str
    stored_scale: float
    worst_expected_error: float
    interval_factor: float | None
    manifest: Mapping[str, Any]
    card: str = ""
    identity: Identity | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """What a bundle says of itself: manifest, card and digest, checked against the seal; the network is not built."""

    folder: Path
    digest: str
    manifest: Mapping[str, Any]
    card: str
    bytes_: int

    @property
    def name(self) -> str:
        """The bundle's own name."""
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """The bundle's own version."""
        return str(self.manifest["version"])


def default_folder() -> Path:
    """The demonstration weights inside the package."""
    return Path(str(resources.files("model") / "bundles" / "demo"))


def verify_bundle(folder: Path) -> BundleFacts:
    """What the bundle says of itself, after every byte of every file was compared with the seal.

    Raises:
        BundleError: missing, digest or schema; it names the file.
    """
    files, digest = read_sealed(folder)
    return BundleFacts(
        folder=folder,
        digest=digest,
        manifest=read_manifest(files[MANIFEST], folder),
        card=_text(files[CARD], folder),
        bytes_=sum(map(len, files.values())),
    )


def load_bundle(folder: Path | None = None) -> Bundle:
    """A bundle ready for inference on the CPU.

    Args:
        folder: of a bundle; None for the demonstration weights of this package.

    Raises:
        BundleError: missing, digest, schema, or keys (named) that do not fit the architecture.
    """
    folder = folder or default_folder()
    files, digest = read_sealed(folder)
    manifest = read_manifest(files[MANIFEST], folder)
    network = MedK2N(read_config(manifest, folder))
    _fill(network, _tensors(files[WEIGHTS], folder / WEIGHTS), folder / WEIGHTS)
    check_tables(manifest, network, folder)
    network.eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    contrasts = network.config.contrasts
    scores = network.key_score
    preference = {
        s: {t: float(scores[i, j]) for j, t in enumerate(contrasts) if t != s}
        for i, s in enumerate(contrasts)
    }
    return Bundle(
        network=network,
        digest=digest,
        name=str(manifest["name"]),
        version=str(manifest["version"]),
        contrasts=contrasts,
        sites={name: number for number, name in enumerate(network.config.sites)},
        key_preference=preference,
        combine=str(manifest["combine"]),
        stored_scale=float(manifest["stored_scale"]),
        worst_expected_error=float(manifest["worst_expected_error"]),
        interval_factor=manifest["interval_factor"],
        manifest=manifest,
        card=_text(files[CARD], folder),
        identity=_identity(files, folder),
        calibration=read_calibration(manifest.get("calibration")),
    )


def save_bundle(
    folder: Path,
    network: MedK2N,
    facts: Mapping[str, Any],
    card: str,
    identity: Path | None = None,
) -> str:
    """Write a bundle; weights in half precision, read back as float32.

    Args:
        facts: name, version, intended_use, combine, stored_scale, worst_expected_error, interval_factor,
            preprocessing, training (with its fingerprint), metrics; whatever else is to be kept stands beside them.
        identity: folder with the files of a judge of identity, taken along as they are.

    Returns:
        the digest of the bundle.

    Raises:
        BundleError: schema: a fact is missing or of another form; nothing is written.
    """
    check_facts(facts, folder / MANIFEST)
    state = network.state_dict()
    weights = save_tensors(
        {k: (v.float() if k in _EXACT else v.half()).contiguous() for k, v in state.items()}
    )
    manifest = {
        **facts,
        "schema": SCHEMA,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "network": network.config.to_json(),
        "sites": {name: number for number, name in enumerate(network.config.sites)},
        **tables(network),
    }
    files = {
        WEIGHTS: weights,
        MANIFEST: json.dumps(manifest, indent=1, sort_keys=True).encode(),
        CARD: card.encode(),
    }
    if identity is not None:
        files |= {name: (identity / name).read_bytes() for name in OPTIONAL}
    return write_sealed(folder, files)


def restate_bundle(source: Path, target: Path, facts: Mapping[str, Any], card: str | None = None) -> str:
    """The same weights with other facts (a calibration, a version), under a seal of their own; gives the new digest.

    Raises:
        BundleError: the source is not whole, or a fact is of another form; nothing is written.
    """
    files, _ = read_sealed(source)
    manifest = {**read_manifest(files[MANIFEST], source), **facts}
    check_facts(manifest, target / MANIFEST)
    files[MANIFEST] = json.dumps(manifest, indent=1, sort_keys=True).encode()
    if card is not None:
        files[CARD] = card.encode()
    return write_sealed(target, files)


def _text(data: bytes, folder: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault(folder / CARD, "schema", "it is not UTF-8 text", "Install the bundle again.") from error


def _tensors(data: bytes, file: Path) -> dict[str, Tensor]:
    try:
        return {name: tensor.float() for name, tensor in load_tensors(data).items()}
    except SafetensorError as error:
        raise fault(
            file, "keys", f"it holds no tensors that can be read ({error})", "Install the bundle again."
        ) from error


def _identity(files: Mapping[str, bytes], folder: Path) -> Identity | None:
    """The judge of identity out of the sealed files."""
    have = [name for name in OPTIONAL if name in files]
    if not have:
        return None
    if len(have) != len(OPTIONAL):
        raise fault(
            folder, "missing", f"{have[0]} stands alone; the judge of identity is {' and '.join(OPTIONAL)}",
            "Install the bundle again.",
        )  # fmt: skip
    return read_identity(files[IDENTITY], files[IDENTITY_WEIGHTS], folder)


def _fill(network: MedK2N, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Give the network its weights; all of them, and no other."""
    wanted = network.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    extra = sorted(set(tensors) - set(wanted))
    shapes = [k for k in wanted if k in tensors and wanted[k].shape != tensors[k].shape]
    if missing or extra or shapes:
        parts = [
            f"{word}: {', '.join(keys[:5])}" + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            for word, keys in (("missing", missing), ("unknown", extra), ("other shape", shapes))
            if keys
        ]
        raise fault(file, "keys", "; ".join(parts), "The weights belong to another architecture or version.")
    network.load_state_dict(dict(tensors))
