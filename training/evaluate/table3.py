"""The paper's table 3 (M-3), trained: from a plain average (B0) to the whole network with its curriculum (B5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from model import load_bundle
from training.evaluate.methods import BundleMethod
from training.loop import ROWS, build_as

#: What each row adds to the one before.
ADDS = {
    "B0": "B0 plain average",
    "B1": "B1 + weight prediction",
    "B2": "B2 + threshold filtering",
    "B3": "B3 + effective weight",
    "B4": "B4 + CMIM",
    "B5": "B5 + curriculum (whole)",
}


def train_rows(
    archive: Path,
    out: Path,
    *,
    seeds: Sequence[int],
    rows: Sequence[str] = ROWS,
    steps: int | None = None,
    minutes: float | None = None,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, of: None,
) -> list[BundleMethod]:
    """Train every row from scratch with every seed, each in `out`/ROW/seed-N; goes on where it was interrupted.

    All take as many steps: those of the first one where `minutes` decides. The whole network comes first in the result.

    Raises:
        TrainingError: the archive does not suffice; a folder holds another training.
    """
    # Here, since training.fitting takes its figures from this package.
    from training.fitting import SCRATCH, Request, fit

    made: dict[str, list[BundleMethod]] = {row: [] for row in rows}
    for seed in seeds:
        for row in rows:
            folder = out / row / f"seed-{seed}"
            if not (folder / "bundle" / "bundle.json").is_file():
                stage = f"{row}, seed {seed}"
                request = Request(
                    archives=(archive,), out=folder, start=SCRATCH, steps=steps, minutes=minutes, seed=seed,
                    modules=row, curriculum=row == "B5", name=f"table3-{row}", accelerator="cpu",
                    resume=(folder / "fit.json").is_file(),
                )  # fmt: skip

                def told(step: int, of: int, loss: float, stage: str = stage) -> None:
                    progress(stage, step, of)

                done = fit(request, report=report, progress=told)
                report(f"{stage}: {done.steps} steps in {done.seconds:.0f} s")
                steps, minutes = done.planned, None
            bundle = load_bundle(folder / "bundle")
            build_as(bundle.network, row)
            made[row].append(BundleMethod(bundle=bundle, name=ADDS[row], seed=seed))
    return [method for row in sorted(rows, reverse=True) for method in made[row]]
