"""The network over a volume: tiles change nothing, sources are encoded once, what a source changes is what it adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model import Bundle, load_bundle
from model.heads.level import LEVEL_FEATURES
from model.slices import Decoded, Stack, decode

SHAPE = (5, 64, 64)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


def _stack(*names: str) -> Stack:
    rng = np.random.default_rng(8)
    every = {n: rng.random(SHAPE, dtype=np.float32) for n in ("T1", "T2", "FLAIR")}
    levels = {n: rng.random(LEVEL_FEATURES, dtype=np.float32) for n in every}
    head = np.zeros(SHAPE, bool)
    head[1:4, 4:60, 8:56] = True
    return Stack(
        arrays={n: every[n] for n in names},
        levels=torch.tensor(np.stack([levels[n] for n in names])),
        head=head,
        brain=head,
        thick=True,
    )


def _decode(
    bundle: Bundle, stack: Stack, *targets: str, batch: int = 8, leave_one_out: bool = False
) -> Decoded:
    return decode(
        bundle, stack, targets, device="cpu", batch_slices=batch, progress=lambda fraction: None,
        leave_one_out=leave_one_out,
    )  # fmt: skip


def test_what_a_source_changes_is_the_image_with_it_minus_the_image_without_it(bundle: Bundle) -> None:
    whole = _decode(bundle, _stack("T1", "T2", "FLAIR"), "T1C", leave_one_out=True)
    assert set(whole.change) == {"T1", "T2", "FLAIR"}
    assert whole.notes == [[]], "the fused image is the one that is taken"
    for left_out, rest in (("T1", ("T2", "FLAIR")), ("T2", ("T1", "FLAIR")), ("FLAIR", ("T1", "T2"))):
        without = _decode(bundle, _stack(*rest), "T1C")
        if without.notes != [[]]:
            continue
        assert np.allclose(whole.change[left_out], whole.image - without.image, atol=2e-5), left_out
    assert all(float(np.abs(c).max()) > 1e-3 for c in whole.change.values())


def test_a_single_source_has_nothing_to_be_compared_with(bundle: Bundle) -> None:
    assert _decode(bundle, _stack("T1"), "T2", leave_one_out=True).change == {}


def test_the_size_of_a_tile_changes_nothing(bundle: Bundle) -> None:
    stack = _stack("T1", "T2")
    one, other = (_decode(bundle, stack, "FLAIR", batch=b).image for b in (1, 8))
    assert np.allclose(one, other, atol=2e-5)


def test_slices_without_head_are_left_out(bundle: Bundle) -> None:
    image = _decode(bundle, _stack("T1", "T2"), "FLAIR").image
    assert not image[[0, 4]].any() and image[1:4, :, 4:60, 8:56].any()


def test_sources_are_encoded_once_whatever_the_number_of_targets(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    handle = bundle.network.encoder.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].shape[0])
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # each core takes a tile of its own
    try:
        _decode(bundle, _stack("T1", "T2"), "T1C", "FLAIR", "DWI", leave_one_out=True)
    finally:
        torch.set_num_threads(threads)
        handle.remove()
    assert seen == [3 * 2], "three slices of two sources in one call"


def test_a_site_changes_the_image(bundle: Bundle) -> None:
    stack = _stack("T1", "T2")
    with torch.no_grad():
        before = {n: p.clone() for n, p in bundle.network.named_parameters() if "site" in n}
        for n, p in bundle.network.named_parameters():
            if "site" in n:
                p.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    try:
        here, there = (_decode(bundle, replace(stack, site=k), "FLAIR").image for k in (0, 1))
    finally:
        with torch.no_grad():
            for n, p in bundle.network.named_parameters():
                if n in before:
                    p.copy_(before[n])
    assert float(np.abs(here - there).max()) > 1e-4
