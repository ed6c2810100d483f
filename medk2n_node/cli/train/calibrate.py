"""`medk2n train calibrate BUNDLE ARCHIVE --out DIR`: how wide the intervals must be, and what is too strange."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, people, print_json, remarks


def register(app: typer.Typer) -> None:
    """Add `calibrate` to `medk2n train`."""
    app.command()(calibrate)


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a sealed bundle.")],
    archive: Annotated[
        Path, typer.Argument(metavar="ARCHIVE", help="Folder made by `medk2n train prepare`.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the calibrated bundle is written.")
    ],
    slices: Annotated[
        int, typer.Option("--slices", min=1, help="Slices of each case that are measured.")
    ] = 8,
    as_json: JsonFlag = False,
) -> None:
    """Measure a bundle's intervals on the calibration patients of an archive; check them on its validation patients."""
    remarks().print("loading", style="dim")
    from rich.progress import Progress

    from model import load_bundle
    from training.archive import open_archive
    from training.calibrate import calibrate as run
    from training.calibrate import seal_calibrated

    opened, model = open_archive(archive), load_bundle(bundle)
    with Progress(console=remarks(), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=share)

        found = run(
            model,
            learned=opened.cases("training"),
            calibration=opened.cases("calibration"),
            checked=opened.cases("validation"),
            slices=slices,
            progress=progress,
        )
    digest = seal_calibrated(bundle, out, found)
    document = {"bundle": out, "digest": digest, "before": model.digest, **found.to_json()}
    if as_json:
        print_json(document)
        return
    console = people()
    for words in found.words:
        console.print(words, markup=False, soft_wrap=True)
    for one in found.covered:
        lesion = "" if one.lesion is None else f", lesions {one.lesion:.0%}"
        console.print(
            f"  {'+'.join(one.sources)} > {one.target}: {one.scaled:.1%} inside"
            f" ({one.unscaled:.1%} before, factor {one.factor:.2f}{lesion})",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"{out}: {digest}", markup=False, soft_wrap=True)
