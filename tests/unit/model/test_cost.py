"""What a volume costs: sources encoded once, bounded tiles, operations within their limits, the same bits twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from model import Bundle, Image, RequestError, load_bundle, synthesize
from model.arithmetic import arithmetic
from model.encoder.attention import attend
from model.heads.level import LEVEL_FEATURES
from model.network import MedK2N, NetworkConfig
from model.operations import operation_counter
from model.slices import Decoded, Stack, decode
from model.tiles import Tiling


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


def stack(sources: tuple[str, ...], slices: int = 5) -> Stack:
    """Noise in a box of 64x64, as the imaging hands it over."""
    random = np.random.default_rng(7)
    head = np.zeros((slices, 70, 66), bool)
    head[:, 3:67, 1:65] = True
    return Stack(
        arrays={name: random.random(head.shape, np.float32) * head for name in sources},
        levels=torch.rand(len(sources), LEVEL_FEATURES, generator=torch.Generator().manual_seed(1)),
        head=head,
        brain=head,
        thick=False,
    )


def run(bundle: Bundle, sources: tuple[str, ...], targets: tuple[str, ...], batch: int = 2) -> Decoded:
    with arithmetic("cpu"):
        return decode(
            bundle, stack(sources), targets, device="cpu", batch_slices=batch, progress=lambda share: None
        )


@contextmanager
def cores(count: int) -> Iterator[None]:
    """PyTorch computes on so many."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def encoder_calls(bundle: Bundle) -> Iterator[list[int]]:
    """The number of images in every call of the encoder."""
    calls: list[int] = []

    def note(module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        calls.append(len(arguments[0]))

    hook = bundle.network.encoder.register_forward_pre_hook(note)
    try:
        yield calls
    finally:
        hook.remove()


@pytest.mark.parametrize("targets", [("FLAIR",), ("FLAIR", "T1C"), ("FLAIR", "T1C", "DWI", "ADC")])
def test_every_slice_of_every_source_is_encoded_once_whatever_the_number_of_targets(
    bundle: Bundle, targets: tuple[str, ...]
) -> None:
    with encoder_calls(bundle) as calls, cores(1):
        run(bundle, ("T1", "T2"), targets)
    assert calls == [4, 4, 2]  # five slices, two at a time, of two sources


@pytest.mark.parametrize(("batch", "sizes"), [(8, [6, 9]), (4, [3, 6, 6]), (2, [3] * 5), (1, [3] * 5)])
def test_two_cores_share_the_slices_that_may_be_in_memory_and_the_image_stays(
    bundle: Bundle, batch: int, sizes: list[int]
) -> None:
    """Five slices of three sources: two tiles side by side hold no more slices than one was allowed."""
    sources, targets = ("T1", "T2", "FLAIR"), ("T1C",)
    with cores(1), encoder_calls(bundle) as calls:
        whole = run(bundle, sources, targets, 8)
    assert calls == [15]
    with cores(2), encoder_calls(bundle) as calls:
        tiled = run(bundle, sources, targets, batch)
        assert torch.get_num_threads() == 2, "as it was before"
    assert sorted(calls) == sizes
    assert np.abs(whole.image - tiled.image).max() < 1e-5
    assert np.abs(whole.half_width - tiled.half_width).max() < 1e-5
    assert np.allclose(whole.error, tiled.error, atol=1e-5) and np.allclose(
        whole.features, tiled.features, atol=1e-4
    )
    assert whole.share[0] == pytest.approx(tiled.share[0], abs=2e-4) and whole.accepted == tiled.accepted


def test_tiles_side_by_side_have_a_share_of_the_cores_each_and_come_in_order() -> None:
    met, share = threading.Barrier(2, timeout=30), []

    def work(start: int, stop: int) -> tuple[int, int]:
        met.wait()  # neither goes on before the other has begun
        share.append(torch.get_num_threads())
        return start, stop

    with cores(4):
        assert list(Tiling(step=3, at_once=2).over(10, work)) == [(0, 3), (3, 6), (6, 9), (9, 10)]
        assert torch.get_num_threads() == 4
    assert share == [2, 2, 2, 2]


def test_what_a_tile_raises_reaches_the_caller_and_the_rest_is_not_begun() -> None:
    begun: list[int] = []

    def work(start: int, stop: int) -> None:
        begun.append(start)
        if start == 0:
            raise MemoryError("no room")
        time.sleep(0.05)

    with cores(2), pytest.raises(MemoryError, match="no room"):
        list(Tiling(step=1, at_once=2).over(200, work))
    assert len(begun) < 20


@pytest.mark.parametrize("count", [0, 1])
def test_no_tile_needs_no_thread(count: int) -> None:
    assert (
        list(Tiling(step=4, at_once=8).over(count, lambda start, stop: threading.current_thread()))
        == [threading.main_thread()] * count
    )


def test_two_runs_give_the_same_bits(bundle: Bundle) -> None:
    first, second = (run(bundle, ("T1", "T2"), ("FLAIR", "DWI")) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.half_width, second.half_width)
    assert first.share == second.share


def test_deterministic_arithmetic_is_the_default_on_a_cpu_and_ends_with_the_call() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with arithmetic("cpu"):
        assert torch.are_deterministic_algorithms_enabled()
    with arithmetic("cpu", deterministic=False):
        assert not torch.are_deterministic_algorithms_enabled()
    with arithmetic("cuda"):
        assert not torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before


@pytest.mark.parametrize(("precision", "device"), [("bf16", "cpu"), ("fp16", "cuda"), ("int8", "cpu")])
def test_a_precision_that_the_device_does_not_compute_in_is_refused(precision: str, device: str) -> None:
    with (
        pytest.raises(RequestError, match=f"does not compute in it on {device}"),
        arithmetic(device, precision),
    ):
        raise AssertionError("it was entered")


def test_tiny_stays_within_its_operations() -> None:
    """GFLOP a slice of 256x256 with three sources, for one, two and three targets; the sources are encoded once."""
    network = MedK2N(NetworkConfig(encoder="tiny")).eval()
    x, levels = torch.rand(1, 3, 3, 256, 256), torch.rand(1, 3, LEVEL_FEATURES)
    sources, site = [0, 1, 2], torch.zeros(1, dtype=torch.long)
    with torch.inference_mode(), operation_counter() as counter:
        encoded = network.encode(x, sources, site)
        once = counter.get_total_flops() / 1e9
        for count, limit in ((1, 55), (2, 64), (3, 73)):
            before = counter.get_total_flops() / 1e9
            network.fuse(encoded, sources, list(range(3, 3 + count)), levels, None, site)
            assert once + counter.get_total_flops() / 1e9 - before <= limit


def test_attention_on_a_cpu_is_counted_with_the_products() -> None:
    q = torch.rand(2, 4, 256, 32)  # 256 tokens, four heads of 32
    with torch.inference_mode(), operation_counter() as counter:
        attend(q, q, q)
    assert counter.get_total_flops() == 2 * 4 * (2 * 2 * 256 * 256 * 32)


@pytest.mark.slow
def test_the_whole_way_from_two_grids_gives_the_same_bits_twice(bundle: Bundle) -> None:
    from medk2n_node.demo.maps import head
    from medk2n_node.demo.phantom import axial_grid, motion, scan

    sources = {}
    for number, contrast in enumerate(("T1", "T2")):
        grid = axial_grid(slices=14 + number, spacing_mm=9.0, tilt_deg=8.0 - 3 * number)
        moved = motion(shift_mm=(2.0 * number, 0.0, 0.0), turn_deg=2.0 * number)
        array = scan(head(), contrast, grid, moved, seed=number).astype(np.float32)
        sources[contrast] = Image(array=array, affine=grid.affine)
    first, second = (synthesize(sources, ["FLAIR"], bundle, reference="T1") for _ in range(2))
    assert first.registrations["T2"].translation_mm > 0
    assert np.array_equal(first.targets["FLAIR"].array, second.targets["FLAIR"].array)
    assert np.array_equal(first.targets["FLAIR"].uncertainty, second.targets["FLAIR"].uncertainty)
    assert first.targets["FLAIR"].quality == second.targets["FLAIR"].quality


@pytest.mark.parametrize(("queries", "keys"), [(4, 16), (16, 64), (64, 64), (9, 65)])
def test_attention_in_windows_is_that_of_pytorch(queries: int, keys: int) -> None:
    generator = torch.Generator().manual_seed(keys)
    q, k, v = (
        torch.randn(3, 2, n, 32, generator=generator, requires_grad=True) for n in (queries, keys, keys)
    )
    ours, theirs = attend(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(ours, theirs, atol=1e-6)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), (q, k, v)),
        torch.autograd.grad(theirs.square().sum(), (q, k, v)),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-5)


def test_targets_one_at_a_time_are_what_all_at_once_are() -> None:
    torch.manual_seed(5)
    network = MedK2N(NetworkConfig())
    for name, value in network.named_parameters():
        if "film" in name or "scale" in name:
            torch.nn.init.normal_(value, std=0.1)  # as after a training: at first no target differs
    x, levels = torch.rand(2, 3, 3, 64, 96), torch.rand(2, 3, LEVEL_FEATURES)
    with torch.no_grad():
        together = network.train()(x, [0, 2, 3], [1, 4, 5], levels)
        alone = network.eval()(x, [0, 2, 3], [1, 4, 5], levels)
    assert alone.pairs == together.pairs
    for field in ("images", "base", "below", "above", "errors", "base_errors", "w_global", "tau", "w_eff"):
        assert torch.allclose(getattr(alone, field), getattr(together, field), atol=1e-5), field
    assert not torch.allclose(alone.images[:, 0], alone.images[:, 1], atol=1e-3)


def test_a_synthesis_does_not_load_the_compiler() -> None:
    program = (
        "import sys; from model.arithmetic import arithmetic\n"
        "with arithmetic('cpu'): print('torch._inductor' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False", "two seconds of every synthesis"
