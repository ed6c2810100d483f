"""DICOM archives: the series of one study as rows, with the class, the geometry and the choice that the node makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset

from dicom_rules import CONTRASTS
from dicom_rules.classify import ClassifyRules, SeriesClass
from dicom_rules.derive import patient_free
from dicom_rules.protocols import Abilities, Plan, PlanRules, SeriesRole, plan
from dicom_rules.reading import text
from training.archive.inventory import Row
from training.archive.pseudonyms import Pseudonyms
from training.archive.segments import is_segmentation, lesion_rows
from training.studies import SeriesFolder, classify_read, read_files

_UID = re.compile(r"\b(?=[0-9.]{14})[0-2]\.\d+(?:\.\d+)+\b")


def dicom_rows(
    files: Iterable[Path],
    *,
    site: str,
    pseudonyms: Pseudonyms,
    rules: ClassifyRules,
    look: Callable[[], None] = lambda: None,
) -> list[Row]:
    """The rows of one study's files, headers and a few pixels read; `look` is called after each file."""
    read = classify_read(read_files(files, look=look), headers_only=False, rules=rules)
    rows: list[Row] = []
    for uid, series in read.studies.items():
        classes = [one for _, one in series]
        real = [header for folder, one in series if one.kind != "synthetic" for header in folder.headers]
        patients = persons(real or [header for folder, _ in series for header in folder.headers])
        patient = pseudonyms.of("patient", *patients[0])
        # Everything that a study shows may teach, whatever the node is allowed to make.
        made = plan(
            classes,
            abilities=Abilities(contrasts=CONTRASTS),
            rules=PlanRules(allowed=CONTRASTS, high_risk=()),
        )
        roles = {role.series_uid: role for role in made.series}
        study = pseudonyms.of("study", uid)
        of_study: list[Row] = []
        drawn: dict[str, Dataset] = {}
        for folder, one in series:
            row = _row(folder, one, roles[one.series_uid], made, site, pseudonyms, (patient, study))
            if len(patients) > 1:
                row = _of_two_patients(row, len(patients))
            elif is_segmentation(folder.headers[0]):
                drawn[row.series] = folder.headers[0]
            of_study += [row, *_other_stacks(row, one, made, pseudonyms)]
        rows += lesion_rows(of_study, drawn)
    return rows


def persons(headers: Sequence[Dataset]) -> list[tuple[str, ...]]:
    """Whom the objects of one study name: by number, else by name and date of birth, else only the study itself.

    The issuer of a number is left out: series made on a workstation, or stored before a PACS was exchanged, lack it,
    and one person under two names would teach and judge at once. An object without a number is of whom the others
    name, unless its name is another's.
    """
    numbers: dict[str, set[tuple[str, str]]] = {}
    names: dict[tuple[str, str], None] = {}
    for header in headers:
        number = text(header, "PatientID").casefold()
        name = (text(header, "PatientName").casefold(), text(header, "PatientBirthDate"))
        if number:
            numbers.setdefault(number, set()).add(name)
        elif name[0]:
            names.setdefault(name)
    known = set().union(*numbers.values())
    others = [name for name in names if name not in known]
    found: list[tuple[str, ...]] = [("id", number, "") for number in numbers]
    found += [("name", *name) for name in others]
    return found or [("study", text(headers[0], "StudyInstanceUID"))]


def _row(
    folder: SeriesFolder,
    one: SeriesClass,
    role: SeriesRole,
    made: Plan,
    site: str,
    pseudonyms: Pseudonyms,
    whose: tuple[str, str],
) -> Row:
    header = folder.headers[0]
    usable = one.usable and role.role != "unusable"
    chosen = usable and one.contrast is not None and made.present.get(one.contrast) == one.series_uid
    sentences = [sentence for sentence in role.reasons if not sentence.startswith("Source for")]
    return Row(
        patient=whose[0],
        study=whose[1],
        series=pseudonyms.of("series", one.series_uid),
        site=site,
        form="dicom",
        contrast=one.contrast,
        kind=one.kind,
        plane=one.plane,
        confidence=one.confidence,
        instances=one.instances,
        usable=usable,
        chosen=chosen,
        because=None if usable else one.unusable_because or "too_weak",
        reasons=tuple(nameless(sentence, header, folder.files, pseudonyms) for sentence in sentences),
        description=nameless(one.description, header, folder.files, pseudonyms),
        files=folder.files,
    )


def _other_stacks(row: Row, one: SeriesClass, made: Plan, pseudonyms: Pseudonyms) -> list[Row]:
    """A row for each further contrast that the stacks of a mixed series show and that counts (ADC beside trace)."""
    found = []
    for stack in one.stacks:
        counts = stack.contrast is not None and made.present.get(stack.contrast) == one.series_uid
        if not (row.usable and counts and stack.usable) or stack.contrast == one.contrast:
            continue
        found.append(
            Row(
                patient=row.patient,
                study=row.study,
                series=pseudonyms.of("series", one.series_uid, str(stack.contrast)),
                site=row.site,
                form=row.form,
                contrast=stack.contrast,
                kind=stack.kind,
                plane=row.plane,
                confidence=stack.confidence,
                instances=stack.images,
                usable=True,
                chosen=True,
                because=None,
                reasons=(f"Stack of {stack.label} in a series that mixes several.",),
                description=row.description,
                files=row.files,
            )
        )
    return found


def _of_two_patients(row: Row, count: int) -> Row:
    sentence = f"The objects of this study name {count} different patients under one Study Instance UID."
    return replace(row, usable=False, chosen=False, because="two_patients", reasons=(sentence, *row.reasons))


def nameless(words: str, header: Dataset, files: Sequence[Path], pseudonyms: Pseudonyms) -> str:
    """A sentence about a series without what names the patient, an object or a file."""
    plain = patient_free(words, header)
    for name in {path.name for path in files}:
        plain = plain.replace(f" ({name})", "")
    return _UID.sub(lambda found: f"#{pseudonyms.of('uid', found[0])[:8]}", plain)
