"""Bundle files: `bundle.json` (everything but the numbers), `weights.safetensors`, `card.md`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model.errors import BundleError
from model.network import MedK2N, NetworkConfig

SCHEMA = 1
WEIGHTS, MANIFEST, CARD = "weights.safetensors", "bundle.json", "card.md"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A network with its facts.

    Attributes:
        digest: sha256 (hex) of the weight file; it names the model in every result.
        contrasts: what it can take and make.
        key_preference: [source][target] -> validated single-source score in dB.
        combine: "mean" of the heads, or "choose" the head of best expected quality per volume.
        stored_scale: stored value that stands for the target's 99.5th percentile inside the brain.
        worst_expected_error: expected mean error (in units of that percentile) above which it abstains.
        interval_factor: calibrated widening of the interval, None where uncalibrated.
        manifest: the whole of bundle.json.
    """

    network: MedK2N
    digest: str
    name: str
    version: str
    contrasts: tuple[str, ...]
    key_preference: Mapping[str, Mapping[str, float]]
    combine: str
    stored_scale: float
    worst_expected_error: float
    interval_factor: float | None
    manifest: Mapping[str, Any]


def _fault(subject: Path, code: str, reason: str, cure: str) -> BundleError:
    return BundleError(code=code, subject=str(subject), reason=reason, cure=cure)


def default_folder() -> Path:
    """The demonstration weights inside the package."""
    return Path(str(resources.files("model") / "bundles" / "demo"))


def verify_bundle(folder: Path) -> dict[str, Any]:
    """The manifest, after checking that the files are there and the weights are those that were sealed.

    Raises:
        BundleError: missing, schema or digest.
    """
    for name in (MANIFEST, WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise _fault(
                folder, "missing", f"{name} is not there", "Install the bundle again, or name another."
            )
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except ValueError as error:
        raise _fault(
            folder, "schema", f"{MANIFEST} is not JSON ({error})", "Install the bundle again."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise _fault(
            folder, "schema", f"its schema is {manifest.get('schema')!r}, this version reads {SCHEMA}",
            "Use a bundle made by this version.",
        )  # fmt: skip
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    if digest != manifest.get("sha256"):
        raise _fault(
            folder, "digest",
            f"the weights have sha256 {digest[:12]}, the manifest says {str(manifest.get('sha256'))[:12]}: "
            "they were changed or cut short",
            "Restore the bundle from where it came; do not use it.",
        )  # fmt: skip
    return manifest


def load_bundle(folder: Path | None = None) -> Bundle:
    """A bundle ready for inference on the CPU.

    Args:
        folder: of a bundle; None for the demonstration weights of this package.

    Raises:
        BundleError: missing, digest, schema, or keys (named) that do not fit the architecture.
    """
    folder = folder or default_folder()
    manifest = verify_bundle(folder)
    config = dict(manifest["network"])
    config["contrasts"] = tuple(config["contrasts"])
    network = MedK2N(NetworkConfig(**config))
    tensors = {k: v.float() for k, v in load_tensors((folder / WEIGHTS).read_bytes()).items()}
    wanted = network.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    extra = sorted(set(tensors) - set(wanted))
    shapes = [k for k in wanted if k in tensors and wanted[k].shape != tensors[k].shape]
    if missing or extra or shapes:
        parts = [
            f"{word}: {', '.join(keys[:5])}"
            for word, keys in (("missing", missing), ("unknown", extra), ("other shape", shapes))
            if keys
        ]
        raise _fault(
            folder, "keys", "; ".join(parts), "The weights belong to another architecture or version."
        )
    network.load_state_dict(tensors)
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
        digest=str(manifest["sha256"]),
        name=str(manifest["name"]),
        version=str(manifest["version"]),
        contrasts=contrasts,
        key_preference=preference,
        combine=str(manifest["combine"]),
        stored_scale=float(manifest["stored_scale"]),
        worst_expected_error=float(manifest["worst_expected_error"]),
        interval_factor=manifest.get("interval_factor"),
        manifest=manifest,
    )


def save_bundle(folder: Path, network: MedK2N, facts: Mapping[str, Any], card: str) -> str:
    """Write a bundle; weights in half precision, read back as float32.

    Args:
        facts: name, version, combine, stored_scale, worst_expected_error, interval_factor, training, metrics.

    Returns:
        the sha256 of the weight file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    # Statistics keep their precision: a percentage of a decibel decides which source is the key.
    exact = {"history", "key_score"}
    tensors = {k: (v.float() if k in exact else v.half()).contiguous() for k, v in state.items()}
    data = save_tensors(tensors)
    digest = hashlib.sha256(data).hexdigest()
    manifest = {"schema": SCHEMA, "sha256": digest, "network": network.config.to_json(), **facts}
    for name, content in (
        (WEIGHTS, data),
        (MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode()),
        (CARD, card.encode()),
    ):
        part = folder / (name + ".part")
        part.write_bytes(content)
        part.rename(folder / name)
    return digest
