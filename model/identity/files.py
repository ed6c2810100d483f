"""The identity module on disk, beside the network of a bundle: `identity.json` and `identity.safetensors`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.errors import BundleError
from model.identity.tower import Identity, IdentityConfig

SCHEMA = 1
IDENTITY_FACTS, IDENTITY_WEIGHTS = "identity.json", "identity.safetensors"


def _fault(folder: Path, code: str, reason: str) -> BundleError:
    return BundleError(
        code=code, subject=str(folder), reason=reason, cure="Install the bundle again, or name another."
    )


def read_identity(facts: bytes, weights: bytes, folder: Path) -> Identity:
    """The identity module out of the contents of its two files, frozen; `folder` is named in errors.

    Raises:
        BundleError: schema, digest, or keys (named) that do not fit.
    """
    try:
        stated = json.loads(facts)
    except ValueError as error:
        raise _fault(folder, "schema", f"{IDENTITY_FACTS} is not JSON ({error})") from error
    if not isinstance(stated, dict) or stated.get("schema") != SCHEMA:
        raise _fault(folder, "schema", f"{IDENTITY_FACTS} is not of schema {SCHEMA}")
    digest = hashlib.sha256(weights).hexdigest()
    if digest != stated.get("sha256"):
        says = str(stated.get("sha256"))[:12]
        raise _fault(
            folder, "digest", f"{IDENTITY_WEIGHTS} has sha256 {digest[:12]}, {IDENTITY_FACTS} says {says}"
        )
    config: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stated["config"].items()}
    identity = Identity(IdentityConfig(**config))
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in load_tensors(weights).items()}
    wanted = identity.state_dict()
    wrong = {
        "missing": sorted(set(wanted) - set(tensors)),
        "unknown": sorted(set(tensors) - set(wanted)),
        "other shape": sorted(k for k in wanted if k in tensors and wanted[k].shape != tensors[k].shape),
    }
    if any(wrong.values()):
        named = "; ".join(f"{word}: {', '.join(keys[:5])}" for word, keys in wrong.items() if keys)
        raise _fault(folder, "keys", f"{IDENTITY_WEIGHTS} does not fit its configuration ({named})")
    identity.load_state_dict(tensors)
    return identity.freeze()


def load_identity(folder: Path) -> Identity | None:
    """The identity module of a folder; None where there is none.

    Raises:
        BundleError: missing (one of the two files), schema, digest, keys.
    """
    if not (folder / IDENTITY_FACTS).is_file():
        return None
    if not (folder / IDENTITY_WEIGHTS).is_file():
        raise _fault(folder, "missing", f"{IDENTITY_WEIGHTS} is not there")
    return read_identity(
        (folder / IDENTITY_FACTS).read_bytes(), (folder / IDENTITY_WEIGHTS).read_bytes(), folder
    )


def half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in half precision, counters as they are."""
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}


def save_identity(folder: Path, identity: Identity, facts: Mapping[str, Any]) -> str:
    """Write both files, the weights in half precision; gives their sha256.

    Args:
        facts: how it was trained and what it reaches; kept as they are.
    """
    data = save_tensors(half(identity.state_dict()))
    digest = hashlib.sha256(data).hexdigest()
    manifest = {"schema": SCHEMA, "sha256": digest, "config": identity.config.to_json(), "facts": dict(facts)}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    for name, content in ((IDENTITY_WEIGHTS, data), (IDENTITY_FACTS, text.encode())):
        part = folder / (name + ".part")
        part.write_bytes(content)
        part.rename(folder / name)
    return digest
