"""A bundle proves itself before it is used: it makes a small slice of every contrast."""

from __future__ import annotations

from pathlib import Path

import torch

from model.bundle.files import Bundle, load_bundle
from model.bundle.seal import WEIGHTS, fault
from model.heads.level import LEVEL_FEATURES

_SIZE = 64


def open_and_try(folder: Path) -> Bundle:
    """Open a bundle and let it make one small slice of each contrast from another one.

    Raises:
        BundleError: it is not whole, does not fit this version, or makes values that are not finite.
    """
    bundle = load_bundle(folder)
    count = len(bundle.contrasts)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for source, targets in ((0, list(range(1, count))), (1, [0])):
            x = torch.rand(1, 1, 3, _SIZE, _SIZE, generator=generator)
            levels = torch.full((1, 1, LEVEL_FEATURES), 0.5)
            made = bundle.network(x, [source], targets, levels).images
            if not bool(torch.isfinite(made).all()):
                raise fault(
                    folder / WEIGHTS, "keys", "the network makes values that are not finite",
                    "Train it again, or take an earlier version; do not use it.",
                )  # fmt: skip
    return bundle
