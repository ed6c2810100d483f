"""From a settled revision to its stored plan: classify every series, plan, and fix what the results will be called.

The decisions are those of `dicom_rules`; here the files are read, the configuration is handed over, and the
study-level problems that only the node can see (two patients under one study UID) are named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from dicom_rules import CONTRASTS
from dicom_rules.classify import ClassifyRules, SeriesClass, classify, in_their_study, with_image_votes
from dicom_rules.derive import patient_free
from dicom_rules.errors import ClassifyError
from dicom_rules.protocols import Abilities, Plan, Problem, plan
from medk2n_node.config import Config
from medk2n_node.rules import classify_rules, plan_rules
from medk2n_node.study.reading import SeriesOnDisk, read_series, series_numbers
from medk2n_node.synthesis import image_votes

if TYPE_CHECKING:
    from model import Bundle


BESIDE = ("enhanced", "uncertainty", "overlay", "summary")
"""The kinds of object that go with each synthetic series."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan and what follows from it for the synthesis.

    `work_key` is a digest of everything the results depend on (source objects, targets, weights): two revisions
    with the same key are the same work. `numbers` is the Series Number of each target, and of its other kinds of
    object under "kind:contrast"; "report" and "rejection" are about the whole study.
    """

    plan: Plan
    work_key: str
    model_digest: str
    numbers: Mapping[str, int]


def make_plan(
    files: Mapping[str, Sequence[Path]],
    *,
    config: Config,
    bundle: Bundle,
    problems: Sequence[Problem],
    patients: Mapping[str, frozenset[str]],
    numbers_taken: Sequence[int],
    content: Mapping[str, str],
) -> Planned:
    """Classify and plan one revision.

    Args:
        files: the files of each series, by Series Instance UID.
        config: the configuration in force.
        bundle: the weights in force; what they can make limits the plan.
        problems: findings about the whole study.
        patients: the salted digests of the patients named by each series' objects, by Series Instance UID.
        numbers_taken: series numbers that earlier results of the study use.
        content: a digest of each series' objects, by Series Instance UID.
    """
    series = {uid: read_series(uid, paths) for uid, paths in sorted(files.items())}
    overrides = classify_rules(config)
    headers_say = in_their_study([_classify(one, overrides) for one in series.values()])
    classes = _after_the_images(headers_say, files, config, bundle)
    made = plan(
        classes,
        abilities=Abilities(contrasts=tuple(bundle.contrasts), key_preference=bundle.key_preference),
        rules=plan_rules(config),
        problems=[*problems, *_patient_problems(classes, patients)],
    )
    return Planned(
        plan=made,
        work_key=_work_key(made, bundle.digest, content, config),
        model_digest=bundle.digest,
        numbers=_numbers(made, config.results.series_number, series_numbers(series) | set(numbers_taken)),
    )


def _after_the_images(
    classes: Sequence[SeriesClass], files: Mapping[str, Sequence[Path]], config: Config, bundle: Bundle
) -> tuple[SeriesClass, ...]:
    what_follows = config.classification.on_image_disagreement
    if what_follows == "ignore":
        return tuple(classes)
    return with_image_votes(classes, image_votes(files, classes, bundle), on_disagreement=what_follows)


def _patient_problems(
    classes: Sequence[SeriesClass], patients: Mapping[str, frozenset[str]]
) -> list[Problem]:
    """Two patients under one Study Instance UID: nobody can say whose images would be mixed.

    Synthetic series do not count: what comes back from an archive may spell the same name in other bytes.
    """
    named = {patient for one in classes if one.kind != "synthetic" for patient in patients[one.series_uid]}
    if len(named) < 2:
        return []
    return [
        Problem(
            code="two_patients",
            words=f"the objects of this study name {len(named)} different patients under one Study Instance UID",
            release="Correct the patient data or the Study Instance UID at the source and send the study again",
        )
    ]


def _classify(one: SeriesOnDisk, overrides: ClassifyRules) -> SeriesClass:
    if not one.headers:
        return _unreadable(one, one.problem or "no object of the series can be read")
    try:
        found = classify(
            one.headers, pixels_blank=one.blank, geometry_problem=one.problem, overrides=overrides
        )
    except ClassifyError as error:
        return _unreadable(one, f"{error.subject}: {error.reason}")
    return _without_the_patient(found, one.headers[0])


def _without_the_patient(found: SeriesClass, header: Dataset) -> SeriesClass:
    """Some sites write names into descriptions, which the sentences of the stored plan quote."""

    def free(words: Iterable[str]) -> tuple[str, ...]:
        return tuple(patient_free(one, header) for one in words)

    return replace(
        found,
        description=patient_free(found.description, header),
        study_description=patient_free(found.study_description, header),
        protocol_name=patient_free(found.protocol_name, header),
        procedure_words=free(found.procedure_words),
        evidence=free(found.evidence),
        stacks=tuple(replace(stack, evidence=free(stack.evidence)) for stack in found.stacks),
    )


def _unreadable(one: SeriesOnDisk, sentence: str) -> SeriesClass:
    study = str(one.headers[0].get("StudyInstanceUID", "")) if one.headers else ""
    return SeriesClass(
        study_uid=study,
        series_uid=one.series_uid,
        description="",
        contrast=None,
        kind="other",
        plane="oblique",
        confidence=0.0,
        instances=len(one.paths),
        usable=False,
        evidence=(sentence,),
        unusable_because="unreadable",
    )


def _work_key(made: Plan, model_digest: str, content: Mapping[str, str], config: Config) -> str:
    digest = hashlib.sha256(model_digest.encode())
    if config.results.watermark:  # other pixels are other work
        digest.update(b"\nwatermark")
    for target in sorted(made.to_make, key=lambda target: target.contrast):
        digest.update(f"\n{target.contrast} {target.key} {made.reference}".encode())
        for source in sorted(target.sources):
            digest.update(f"\n  {source} {content[made.present[source]]}".encode())
    return digest.hexdigest()


def _numbers(made: Plan, base: int, used: set[int]) -> dict[str, int]:
    """`base` + the target's place among the contrasts, moved up past numbers in use."""
    taken = set(used)
    numbers: dict[str, int] = {}
    for target in sorted(made.to_make, key=lambda target: CONTRASTS.index(target.contrast)):
        number = base + CONTRASTS.index(target.contrast)
        while number in taken:
            number += 1
        taken.add(number)
        numbers[target.contrast] = number
    for place, name in enumerate(_beside(made), start=1):
        number = base + 10 + place
        while number in taken:
            number += 1
        taken.add(number)
        numbers[name] = number
    return numbers


def _beside(made: Plan) -> list[str]:
    """What is numbered after the series: every other kind of each target, then what is about the study."""
    targets = sorted((one.contrast for one in made.to_make), key=CONTRASTS.index)
    return [f"{kind}:{target}" for kind in BESIDE for target in targets] + ["report", "rejection"]
