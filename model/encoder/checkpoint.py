"""Official SAM 2.1 weights into our encoder, from a local file, all of them or none.

A checkpoint is `{"model": state_dict}` of the whole of SAM 2; ours are the names under `image_encoder.`, which our
trunk and neck bear as well. `window_spec` is no parameter: weights made with the stock windows fit ours.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.encoder.hiera import ImageEncoder
from model.errors import ModelError

PREFIX = "image_encoder."


class CheckpointError(ModelError):
    """A SAM 2.1 checkpoint is absent, is none, or does not fit the encoder (code: missing, format, keys)."""


def _fault(path: Path, code: str, reason: str, cure: str) -> CheckpointError:
    return CheckpointError(code=code, subject=str(path), reason=reason, cure=cure)


def read_sam2_checkpoint(path: Path) -> tuple[dict[str, Tensor], str]:
    """The image encoder's tensors under our names, and the file's sha256. Nothing is downloaded, no code is run.

    Raises:
        CheckpointError: missing or format.
    """
    if not path.is_file():
        raise _fault(
            path, "missing", "there is no such file",
            "Fetch sam2.1_hiera_*.pt from its publisher and name the file; nothing is downloaded here.",
        )  # fmt: skip
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise _fault(
            path, "format", f"it cannot be read as a PyTorch checkpoint ({str(error).splitlines()[0]})",
            "Fetch the file again; it may have been cut short.",
        ) from error  # fmt: skip
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _fault(
            path, "format", 'it is not {"model": tensors by name}', "Use the file as SAM 2 publishes it."
        )
    tensors = {k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX)}
    if not tensors:
        raise _fault(
            path, "keys", f"no name in it begins with {PREFIX}", "Use the file as SAM 2 publishes it."
        )
    return tensors, hashlib.sha256(path.read_bytes()).hexdigest()


def check_fit(encoder: ImageEncoder, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Whether every tensor has its place and every place its tensor.

    Raises:
        CheckpointError: keys; missing, unexpected and mis-shaped names, the first five of each.
    """
    wanted = encoder.state_dict()
    faults = {
        "missing": sorted(set(wanted) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(wanted)),
        "of another shape": sorted(
            f"{k} {tuple(tensors[k].shape)} for {tuple(v.shape)}"
            for k, v in wanted.items()
            if k in tensors and tensors[k].shape != v.shape
        ),
    }
    if any(faults.values()):
        words = "; ".join(
            f"{len(names)} {word}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
            for word, names in faults.items()
            if names
        )
        raise _fault(
            path, "keys", f"it does not fit the encoder {encoder.config.name} ({words})",
            "Choose the encoder of the same size: tiny, small, base_plus or large.",
        )  # fmt: skip


def load_sam2_checkpoint(network: torch.nn.Module, path: Path) -> str:
    """Begin a network's encoder with official SAM 2.1 weights; gives the file's sha256.

    From then on the input is standardised as SAM 2 was trained, and the network's configuration (hence its bundle)
    records which file it was.

    Raises:
        CheckpointError: missing, format, or keys; the network is left as it was.
    """
    encoder, config = network.get_submodule("encoder"), getattr(network, "config", None)
    if not isinstance(encoder, ImageEncoder) or config is None:
        raise TypeError(f"{type(network).__name__} has no SAM 2 image encoder")
    tensors, digest = read_sam2_checkpoint(path)
    check_fit(encoder, tensors, path)
    encoder.load_state_dict(tensors)
    encoder.sam2_input = True
    network.config = replace(config, sam2_checkpoint=digest)
    return digest
