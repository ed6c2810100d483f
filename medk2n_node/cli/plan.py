"""`medk2n plan DIR`: what would be made of a study, of which series, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medk2n_node.cli.classify import HeadersOnly
from medk2n_node.cli.context import JsonFlag, configuration, people, print_json
from medk2n_node.errors import UsageError

if TYPE_CHECKING:
    from dicom_rules.classify import SeriesClass
    from dicom_rules.protocols import Plan, Problem
    from medk2n_node.config import Config
    from model import Bundle
    from training.studies import Classified, SeriesFolder


def register(app: typer.Typer) -> None:
    """Add `plan` to the command line."""
    app.command()(plan)


def plan(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with the DICOM files of one study.")
    ],
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="UID", help="Study Instance UID, where the folder holds several."),
    ] = None,
    headers_only: HeadersOnly = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the plan of a study: what is present, what is made of what, and a sentence for each decision."""
    from dicom_rules.protocols import Abilities
    from dicom_rules.protocols import plan as plan_study
    from medk2n_node.models import load_in_force
    from medk2n_node.rules import classify_rules, plan_rules
    from training.studies import classify_folder

    config = configuration(context)
    rules = plan_rules(config)
    classified = classify_folder(directory, headers_only=headers_only, rules=classify_rules(config))
    series = classified.studies[_one_study(directory, classified, study)]
    bundle = load_in_force(config)
    classes = [one for _, one in series]
    if not headers_only:
        classes = _after_the_images(series, config, bundle)
    made = plan_study(
        classes,
        abilities=Abilities(contrasts=tuple(bundle.contrasts), key_preference=bundle.key_preference),
        rules=rules,
        problems=_two_patients(series),
    )
    if as_json:
        print_json(made.to_json())
    else:
        _print(made, {one.series_uid: one.description for _, one in series})


def _one_study(directory: Path, classified: Classified, wanted: str | None) -> str:
    if wanted is None and len(classified.studies) == 1:
        return next(iter(classified.studies))
    if wanted in classified.studies:
        return str(wanted)
    held = ", ".join(classified.studies)
    reason = f"it holds no study {wanted}" if wanted else f"it holds {len(classified.studies)} studies"
    raise UsageError(
        code="which_study", subject=str(directory), reason=reason, cure=f"Name one with --study: {held}"
    )


def _after_the_images(
    series: tuple[tuple[SeriesFolder, SeriesClass], ...], config: Config, bundle: Bundle
) -> list[SeriesClass]:
    """The second opinion of the images, as the node asks for it."""
    from dicom_rules.classify import with_image_votes
    from medk2n_node.synthesis import image_votes

    classes = [one for _, one in series]
    what_follows = config.classification.on_image_disagreement
    if what_follows == "ignore":
        return classes
    files = {one.series_uid: folder.files for folder, one in series}
    return list(with_image_votes(classes, image_votes(files, classes, bundle), on_disagreement=what_follows))


def _two_patients(series: tuple[tuple[SeriesFolder, SeriesClass], ...]) -> list[Problem]:
    """Two patients under one Study Instance UID, as the node sees them when it receives the study."""
    from dicom_rules.protocols import Problem
    from dicom_rules.reading import text

    patients = {
        text(header, "PatientID")
        for folder, one in series
        if one.kind != "synthetic"
        for header in folder.headers
    }
    if len(patients) < 2:
        return []
    return [
        Problem(
            code="two_patients",
            words=f"the objects of this study name {len(patients)} different patients under one Study Instance UID",
            release="Correct the patient data or the Study Instance UID at the source and send the study again",
        )
    ]


def _print(made: Plan, descriptions: dict[str, str]) -> None:
    console = people()

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    say(f"study {made.study_uid}")
    say(f"{made.verdict.state}: {made.verdict.words}")
    if made.verdict.release:
        say(f"  {made.verdict.release}")
    for target in made.targets:
        say(f"{target.contrast:6}{target.decision:8}{' '.join(target.reasons)}")
    for role in made.series:
        name = descriptions.get(role.series_uid) or role.series_uid
        say(f'series "{name}" ({role.role}): {" ".join(role.reasons)}')
