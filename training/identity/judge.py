"""The judge: a second classifier of another seed and build, for evaluation only.

What a network was trained to satisfy says little about what it makes; so the identity of synthetic images is judged
by a tower of another build that no training of a network ever sees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model import ModelError
from model.identity import Identity, IdentityConfig, half
from training.identity.towers import JUDGE, build_clip

_FACTS, _WEIGHTS = "judge.json", "judge.safetensors"


def default_folder() -> Path:
    """The judge that goes with the demonstration weights."""
    return Path(str(resources.files("training") / "identity" / "demo"))


def save_judge(folder: Path, judge: Identity, facts: Mapping[str, Any]) -> str:
    """Write the judge, its weights in half precision; gives their sha256."""
    data = save_tensors(half(judge.state_dict()))
    digest = hashlib.sha256(data).hexdigest()
    config = {"contrasts": judge.contrasts, "embed_dim": judge.config.embed_dim}
    manifest = {"sha256": digest, "config": config, "vision": dict(JUDGE), "facts": dict(facts)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _WEIGHTS).write_bytes(data)
    (folder / _FACTS).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return digest


def load_judge(folder: Path | None = None) -> Identity:
    """The judge, frozen, with the interface of `model.identity.Identity`; needs the packages of the extra `train`.

    Raises:
        ModelError: digest: the weights are not those that were written.
    """
    folder = folder or default_folder()
    manifest = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    data = (folder / _WEIGHTS).read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise ModelError(
            code="digest",
            subject=str(folder / _WEIGHTS),
            reason="its sha256 is not the one in judge.json",
            cure="Restore both files from where they came.",
        )
    vision: dict[str, Any] = manifest["vision"]
    config = IdentityConfig(
        contrasts=tuple(manifest["config"]["contrasts"]),
        embed_dim=int(manifest["config"]["embed_dim"]),
        image_size=int(vision["image_size"]),
    )
    visual = build_clip(vision, config.embed_dim, seed=0).visual
    judge = Identity(config, visual)  # type: ignore[arg-type]
    judge.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in load_tensors(data).items()}
    )
    return judge.freeze()
