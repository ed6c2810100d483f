"""Where the seconds of a synthesis go, beside what this machine could do at best.

The demonstration's computed head as a study of 24 slices of 256x256 and one of 155 slices of 240x240, read from DICOM
files and written as DICOM files:

stages    read, mask, register, normalise, encode (sources), fuse, decode (heads), write-back, objects, files; the peak
          of memory
grid      the network alone for K = 1..3 sources and N = 1..3 targets, nano and tiny: operations, seconds, and the ratio
          to the floor = operations / the rate at which this machine multiplies matrices, measured in the same run
slices    seconds against the number of slices, with a straight line through them
peers     a plain U-Net and MONAI's DynUNet of as many operations, on the same slices
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ceilings import (
    beside_matmul,
    best_of,
    convolution_rate,
    matmul_rate,
    memory_rate,
    peak_memory,
    reset_peak,
)
from peers import dyn_unet, plain_unet

if TYPE_CHECKING:
    import torch

    from medk2n_node.demo.study import ScannedSeries, WrittenStudy
    from model.network import MedK2N

SOURCES, TARGETS = ("T1", "T2", "FLAIR"), ("T1C", "DWI", "ADC")
#: Slices, rows, columns, distance of slices in mm.
STUDIES = {"24 slices": (24, 256, 256, 6.0), "155 slices": (155, 240, 240, 1.0)}
BATCH = 8
Say = Callable[[str], None]


def measure(say: Say) -> dict[str, Any]:
    """All of it; a machine with two quiet cores needs about six minutes."""
    import torch

    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    matmul, convolution = matmul_rate(), convolution_rate()
    say(
        f"synthesis: {threads} cores, load {os.getloadavg()[0]:.1f}; matrix product {matmul:.0f} GFLOP/s, "
        f"3x3 convolution {convolution:.0f} GFLOP/s, memory {memory_rate():.1f} GB/s"
    )
    found: dict[str, Any] = {
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "matmul_gflops": round(matmul, 1),
        "convolution_gflops": round(convolution, 1),
        "studies": {name: study_stages(name, say) for name in STUDIES},
        "network": network_grid(say),
        "slices": line_through_slices(say),
        "peers": equal_peers(say),
    }
    found["plot"] = draw(found)
    say(f"  the picture is {found['plot']}")
    return found


def study_stages(name: str, say: Say) -> dict[str, Any]:
    """A whole study, files to files, T1 + T2 + FLAIR -> T1C: seconds and share of every stage, peak of memory."""
    from dicom_rules.derive import Maker
    from medk2n_node.synthesis import Job, Target, run
    from model import load_bundle

    with tempfile.TemporaryDirectory(prefix="medk2n-bench-") as folder:
        written = write_study_of(name, Path(folder) / "study")
        bundle = load_bundle()
        maker = Maker(
            node_version="bench", model_name=bundle.name, model_version=bundle.version,
            model_digest=bundle.digest, ae_title="BENCH", station="bench",
        )  # fmt: skip
        job = Job(
            study_uid=written.study_uid,
            revision=1,
            made_at=datetime(2026, 1, 1, tzinfo=UTC),
            reference="T1",
            targets=(Target(contrast="T1C", sources=SOURCES, key="T1", reasons=(), series_number=9000),),
            series=written.files,
        )
        inside: dict[str, float] = {}
        busy = Busy()
        reset_peak()
        started = time.perf_counter()
        with timed_network(bundle.network, inside):
            product = run(
                job, write=writer(Path(folder) / "results"), bundle=bundle, maker=maker, batch_slices=BATCH,
                progress=busy,
            )  # fmt: skip
        total = time.perf_counter() - started
    seconds = dict(product.seconds)
    whole = seconds.pop("network")
    objects, files = seconds.pop("encode", 0.0), seconds.pop("write", 0.0)
    # Tiles run side by side, a core each: what they took together is shared out over the stage's own seconds.
    tiles = min(BATCH, len(os.sched_getaffinity(0)))
    encode, decode = inside["encode"] / tiles, inside["decode"] / tiles
    seconds |= {
        "encode": encode,
        "decode": decode,
        "fuse": max(0.0, whole - encode - decode),
        "objects": objects,
        "files": files,
    }
    shares = {stage: round(spent / total, 3) for stage, spent in seconds.items()}
    say(f"synthesis of {name}, T1 + T2 + FLAIR -> T1C: {total:.1f} s, {peak_memory():.2f} GiB at most")
    for stage in sorted(seconds, key=lambda one: -seconds[one]):
        say(f"  {stage:<12} {seconds[stage]:6.2f} s  {100 * shares[stage]:4.0f} %")
    cores = busy.cores()
    say("  cores at work: " + ", ".join(f"{stage} {count:.1f}" for stage, count in cores.items()))
    return {
        "total_s": round(total, 2),
        "network_s": round(whole, 2),
        "seconds": {stage: round(spent, 3) for stage, spent in seconds.items()},
        "shares": shares,
        "cores_at_work": {stage: round(count, 2) for stage, count in cores.items()},
        "peak_gib": round(peak_memory(), 2),
    }


class Busy:
    """How many cores work in each stage, as the run tells of its stages: about one for code that has one thread, less
    where it waits for the disk, as many as there are where arithmetic or memory is the limit.

    Building the objects and writing them is one stage here.
    """

    def __init__(self) -> None:
        self._stage, self._at = "", (time.perf_counter(), time.process_time())
        self._spent: dict[str, list[float]] = {}

    def __call__(self, stage: str, fraction: float) -> None:
        now = (time.perf_counter(), time.process_time())
        if self._stage:
            spent = self._spent.setdefault(self._stage, [0.0, 0.0])
            for k in (0, 1):
                spent[k] += now[k] - self._at[k]
        self._stage, self._at = "objects and files" if stage in ("encode", "write") else stage, now

    def cores(self) -> dict[str, float]:
        """Stage -> seconds of all cores / seconds."""
        self(self._stage, 1.0)
        return {stage: cpu / wall for stage, (wall, cpu) in self._spent.items() if wall > 0.05}


def write_study_of(name: str, folder: Path) -> WrittenStudy:
    """The computed head as a DICOM study; the patient moved between the series."""
    from medk2n_node.demo.maps import head
    from medk2n_node.demo.phantom import axial_grid, motion, scan
    from medk2n_node.demo.study import ScannedSeries, write_study

    slices, rows, columns, spacing = STUDIES[name]
    phantom, grid = head(), axial_grid(slices=slices, spacing_mm=spacing)
    series: list[ScannedSeries] = []
    for number, contrast in enumerate(SOURCES):
        moved = motion(shift_mm=(1.5 * number, -1.0 * number, 0.5 * number), turn_deg=1.2 * number)
        array = scan(phantom, contrast, grid, moved, seed=number)
        around = [
            (0, 0),
            *(
                (((n - m) // 2, n - m - (n - m) // 2))
                for n, m in zip((rows, columns), array.shape[1:], strict=True)
            ),
        ]
        affine = grid.affine.copy()
        # The field of view grows; the voxels that were there stay where they were in the patient.
        affine[:3, 3] -= affine[:3, 0] * around[2][0] + affine[:3, 1] * around[1][0]
        series.append(ScannedSeries(contrast=contrast, array=np.pad(array, around), affine=affine))
    return write_study(folder, *series, key=f"bench {name}")


def writer(folder: Path) -> Callable[[str, bytes], str]:
    """Writes results as the node does: synced, one by one."""
    import hashlib

    from medk2n_node.store.files import write_synced

    def write(relative: str, data: bytes) -> str:
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        write_synced(target, data)
        return hashlib.sha256(data).hexdigest()

    return write


@contextmanager
def timed_network(network: MedK2N, seconds: dict[str, float]) -> Iterator[None]:
    """Seconds of all threads in the encoder (with pyramid and scan) and in the decoder (heads and their quality)."""
    seconds |= {"encode": 0.0, "decode": 0.0}
    parts = {"encode": [network.encoder, network.multiscale, network.detail]}
    parts["decode"] = [network.taskhead, network.quality]
    started: dict[tuple[int, int], float] = {}
    hooks, adding = [], threading.Lock()
    for stage, modules in parts.items():
        for module in modules:

            def begin(one: Any, arguments: Any) -> None:
                started[threading.get_ident(), id(one)] = time.perf_counter()

            def end(one: Any, arguments: Any, output: Any, stage: str = stage) -> None:
                spent = time.perf_counter() - started[threading.get_ident(), id(one)]
                with adding:
                    seconds[stage] += spent

            hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def inputs(
    count: int, sources: int, rows: int = 256, columns: int = 256
) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices and histograms for the network alone."""
    import torch

    from model.heads.level import LEVEL_FEATURES

    generator = torch.Generator().manual_seed(count)
    x = torch.rand(count, sources, 3, rows, columns, generator=generator)
    return x, torch.rand(count, sources, LEVEL_FEATURES, generator=generator)


def a_network(encoder: str) -> MedK2N:
    """A network of this size as it runs in the node; what its weights are does not matter for the time."""
    import torch

    from model.network import MedK2N, NetworkConfig

    network = MedK2N(NetworkConfig(encoder=encoder)).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def network_grid(say: Say) -> list[dict[str, Any]]:
    """GFLOP and seconds a slice of 256x256 for every K and N, and the ratio to the floor."""
    import torch

    from medk2n_node.synthesis.allocator import freed_memory_kept
    from model.operations import operation_counter
    from model.tiles import tiling

    rows: list[dict[str, Any]] = []
    for encoder, wanted in (
        ("nano", [(k, n) for k in (1, 2, 3) for n in (1, 2, 3)]),
        ("tiny", [(1, 1), (3, 1), (3, 2), (3, 3)]),
    ):
        network = a_network(encoder)
        say(f"network {encoder}, 256x256: GFLOP and seconds a slice, ratio to the floor")
        for k, n in wanted:
            tiles = tiling(network, k, 256, 256, BATCH if encoder == "nano" else 2)
            batch = tiles.step * tiles.at_once
            x, levels = inputs(batch, k)
            labels = list(range(k)), list(range(3, 3 + n))
            with torch.inference_mode(), operation_counter() as counter:
                network(x[:1], *labels, levels[:1])
            gflop = counter.get_total_flops() / 1e9

            # As a volume is computed (`decode`): tiles side by side.
            @torch.inference_mode()
            def one(start: int, stop: int, given: Any = (network, x, labels, levels)) -> None:
                made, x, labels, levels = given
                made(x[start:stop], *labels, levels[start:stop])

            with freed_memory_kept():  # as in the node
                spent, rate = beside_matmul(
                    6, lambda tiles=tiles, batch=batch, one=one: list(tiles.over(batch, one))
                )
            spent /= batch
            row = {
                "encoder": encoder, "sources": k, "targets": n, "slices_at_once": batch, "gflop": round(gflop, 2),
                "seconds": round(spent, 4), "matmul_gflops": round(rate, 1),
                "ratio_to_floor": round(spent * rate / gflop, 2),
            }  # fmt: skip
            rows.append(row)
            say(
                f"  K={k} N={n}: {gflop:6.2f} GFLOP {spent:7.3f} s  {row['ratio_to_floor']:.2f} times the floor"
            )
    one, three = (_cost(rows, "nano", 3, n) for n in (1, 3))
    say(f"  three targets cost {three / one:.2f} times one (nano, K=3)")
    return rows


def _cost(rows: list[dict[str, Any]], encoder: str, k: int, n: int) -> float:
    [row] = [r for r in rows if (r["encoder"], r["sources"], r["targets"]) == (encoder, k, n)]
    return float(row["seconds"])


def line_through_slices(say: Say) -> dict[str, Any]:
    """Seconds of nano, K=3, N=1 against the number of slices: cost is a straight line."""
    import torch

    from medk2n_node.synthesis.allocator import freed_memory_kept
    from model.tiles import tiling

    network, counts, spent = a_network("nano"), (8, 16, 32, 48), []
    tiles = tiling(network, 3, 192, 160, BATCH)
    for count in counts:
        x, levels = inputs(count, 3, 192, 160)

        @torch.inference_mode()
        def one(start: int, stop: int, x: torch.Tensor = x, levels: torch.Tensor = levels) -> None:
            network(x[start:stop], [0, 1, 2], [3], levels[start:stop])

        with freed_memory_kept():
            spent.append(best_of(2, lambda count=count, one=one: list(tiles.over(count, one))))
    slope, start = np.polyfit(counts, spent, 1)
    worst = float(np.abs(np.polyval((slope, start), counts) / np.array(spent) - 1).max())
    say(
        f"slices (nano, K=3, N=1, 192x160): {start:.2f} s + {slope:.4f} s a slice; "
        f"no measurement is further than {100 * worst:.0f} % from that line"
    )
    return {
        "counts": counts, "seconds": [round(one, 3) for one in spent],
        "start_s": round(float(start), 3), "slope_s": round(float(slope), 4), "worst_relative": round(worst, 3),
    }  # fmt: skip


def equal_peers(say: Say) -> list[dict[str, Any]]:
    """Networks of as many operations as nano with K=3, N=1, on the same slices."""
    import torch

    from medk2n_node.synthesis.allocator import freed_memory_kept
    from model.operations import operation_counter
    from model.tiles import Tiling

    def flops(build: Callable[[int], torch.nn.Module], width: int) -> float:
        # On the meta device shapes are computed and nothing else, so the search for a width costs nothing.
        with torch.device("meta"), operation_counter() as counter:
            build(width)(torch.rand(1, 9, 256, 256))
        return float(counter.get_total_flops()) / 1e9

    x, levels = inputs(1, 3)
    with torch.inference_mode(), operation_counter() as counter:
        a_network("nano")(x, [0, 1, 2], [3], levels)
    wanted = counter.get_total_flops() / 1e9
    rows = []
    for name, build in (("plain U-Net", plain_unet), ("MONAI DynUNet", dyn_unet)):
        width = min(range(12, 33), key=lambda one, build=build: abs(flops(build, one) - wanted))
        network = build(width).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        gflop, given = flops(build, width), torch.rand(BATCH, 9, 256, 256)
        given = given.to(memory_format=torch.channels_last)

        @torch.inference_mode()
        def one(start: int, stop: int, made: Any = network, x: torch.Tensor = given) -> None:
            made(x[start:stop])

        tiles = Tiling(
            step=max(1, BATCH // torch.get_num_threads()), at_once=min(BATCH, torch.get_num_threads())
        )
        with freed_memory_kept():
            spent, rate = beside_matmul(8, lambda tiles=tiles, one=one: list(tiles.over(BATCH, one)))
        spent /= BATCH
        ratio = round(spent * rate / gflop, 2)
        row = {"name": name, "width": width, "gflop": round(gflop, 2), "seconds": round(spent, 4)}
        rows.append({**row, "ratio_to_floor": ratio})
        say(
            f"peer {name}, width {width}, 3 sources -> 1: {gflop:.2f} GFLOP {spent:.3f} s a slice, "
            f"{ratio:.2f} times the floor"
        )
    return rows


def draw(found: Mapping[str, Any]) -> str:
    """Stages of the two studies, and the network beside its floor, as a picture; gives its path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    order = (
        "read", "mask", "register", "normalise", "encode", "fuse", "decode", "identity", "write-back", "objects",
        "files",
    )  # fmt: skip
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    names = list(found["studies"])
    begin = np.zeros(len(names))
    for number, stage in enumerate(order):
        spent = np.array([found["studies"][name]["seconds"].get(stage, 0.0) for name in names])
        left.barh(names, spent, left=begin, label=stage, color=pyplot.get_cmap("tab20")(number))
        begin += spent
    left.set_xlabel("seconds")
    left.set_title("T1 + T2 + FLAIR to T1C, files to files")
    left.legend(fontsize=8, ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    rows = found["network"] + [
        {**one, "encoder": one["name"], "sources": 3, "targets": 1} for one in found["peers"]
    ]
    labels = [
        f"{row['encoder']} {row['sources']} to {row['targets']}" if "name" not in row else row["name"]
        for row in rows
    ]
    right.bar(labels, [row["ratio_to_floor"] for row in rows], color="#4878a8")
    right.axhline(1.0, color="black", linewidth=0.8)
    right.set_ylabel("time / (operations / matrix product rate)")
    right.set_title("distance from the floor of this machine")
    right.tick_params(axis="x", rotation=75, labelsize=8)
    folder = Path("bench-output")
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / "synthesis.png", dpi=110)
    pyplot.close(figure)
    return str(folder / "synthesis.png")
