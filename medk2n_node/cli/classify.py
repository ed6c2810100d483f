"""`medk2n classify DIR`: which contrast every series below a folder shows, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json

if TYPE_CHECKING:
    from dicom_rules.classify import SeriesClass
    from training.studies import Classified, SeriesFolder

HeadersOnly = Annotated[
    bool, typer.Option("--headers-only", help="Read no pixel data; works on objects without any.")
]


def register(app: typer.Typer) -> None:
    """Add `classify` to the command line."""
    app.command()(classify)


def classify(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of DICOM files, searched to the bottom.")
    ],
    headers_only: HeadersOnly = False,
    as_json: JsonFlag = False,
) -> None:
    """Say which contrast each series shows, how sure that is, and whether it may be used."""
    from medk2n_node.rules import classify_rules
    from training.studies import classify_folder

    classified = classify_folder(
        directory, headers_only=headers_only, rules=classify_rules(configuration(context))
    )
    if as_json:
        print_json(document(classified))
    else:
        _print(classified)


def document(classified: Classified) -> dict[str, Any]:
    """The JSON contract of the command."""
    return {
        "studies": [
            {"study_uid": uid, "series": [_series(folder, one) for folder, one in series]}
            for uid, series in classified.studies.items()
        ],
        "skipped": [{"path": str(skipped.path), "reason": skipped.reason} for skipped in classified.skipped],
    }


def _series(folder: SeriesFolder, one: SeriesClass) -> dict[str, Any]:
    return {
        "series_uid": one.series_uid,
        "path": str(folder.path),
        "description": one.description,
        "contrast": one.contrast,
        "kind": one.kind,
        "plane": one.plane,
        "confidence": one.confidence,
        "instances": one.instances,
        "usable": one.usable,
        "unusable_because": one.unusable_because,
        "evidence": list(one.evidence),
        "agent": one.agent,
        "acquired_at": one.acquired_at,
        "deep_learning": bool(one.deep_learning),
        "stacks": [
            {
                "label": stack.label,
                "images": stack.images,
                "contrast": stack.contrast,
                "kind": stack.kind,
                "confidence": stack.confidence,
                "usable": stack.usable and one.usable,
                "evidence": list(stack.evidence),
            }
            for stack in one.stacks
        ],
    }


def _print(classified: Classified) -> None:
    console = people()

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    for uid, series in classified.studies.items():
        say(f"study {uid}")
        for folder, one in series:
            use = "usable" if one.usable else f"not usable: {one.unusable_because}"
            count = f"{one.instances} image{'s' if one.instances != 1 else ''}"
            name = one.description or folder.path.name
            say(f"  {one.contrast or '-':6}{one.confidence:.2f}  {one.plane:9} {count:11} {name} ({use})")
            for sentence in one.evidence:
                say(f"        {sentence}")
            for stack in one.stacks:
                say(f"        stack {stack.label}: {stack.contrast or '-'}, {stack.images} images")
    if classified.skipped:
        say(f"{len(classified.skipped)} left out:")
        for skipped in classified.skipped:
            say(f"  {skipped.path}: {skipped.reason}")
