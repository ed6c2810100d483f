"""Is it a head? By what is stated of the body part, else by the words of study and series, else by the coil."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_rules.classify.names import Names, body_part
from dicom_rules.reading import first_item, items, text

SIEMENS_COIL = Tag(0x0051100F)
_SPINE_ELEMENTS = re.compile(r"^(SP\d|SP|BO\d|B\d|PE\d|EX)")
_HUMAN = re.compile(r"human|homo|sapiens|mensch|humano|umano|humain|人", re.IGNORECASE)
_HEAD_ELEMENTS = re.compile(r"HE|HC|head|brain|neuro", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class BodyPart:
    """`head` is True, False, or None where nothing tells; `doubtful` when two statements disagree."""

    head: bool | None
    sentence: str
    stated: str
    doubtful: bool = False


def body_part_of(header: Dataset, names: Names) -> BodyPart:
    """The body part of a series, with the sentence that says how it is known."""
    stated = _stated(header)
    subject = _no_patient(header)
    if subject:
        return BodyPart(head=False, stated=stated, sentence=subject)
    head_word, other_word = body_part(stated)
    if other_word and not head_word:
        if names.head:
            return BodyPart(
                head=True,
                doubtful=True,
                stated=stated,
                sentence=f'Body part "{stated}" is no head, but the names say "{names.head}"; taken as a head',
            )
        return BodyPart(head=False, stated=stated, sentence=f'Body part "{stated}" is not a head')
    if names.own_spine and not names.own_head:
        # Brain and spine examined together carry one body part; the series says which it is.
        return BodyPart(
            head=False,
            stated=stated,
            sentence=f'The series is named "{names.own_spine}", which is not a head',
        )
    if head_word:
        return BodyPart(head=True, stated=stated, sentence=f'Body part "{stated}" is a head')
    if names.elsewhere and not names.head:
        return BodyPart(
            head=False,
            stated=stated,
            sentence=f'The examination is named "{names.elsewhere}", which is not a head',
        )
    if names.head:
        return BodyPart(
            head=True,
            doubtful=bool(names.elsewhere),
            stated=stated,
            sentence=f'The examination is named "{names.head}", which is a head',
        )
    return _by_coil(header, stated)


def _no_patient(header: Dataset) -> str:
    """Why the subject is no human patient at all; empty when nothing says so (PS3.3 C.7.1.1)."""
    if text(header, "QualityControlSubject").upper() == "YES":
        return "Quality Control Subject (0010,0200) is YES: a phantom, not a head"
    if text(header, "QualityControlImage").upper() == "YES":
        return "Quality Control Image (0028,0300) is YES: a phantom, not a head"
    species = text(header, "PatientSpeciesDescription")
    if species and not _HUMAN.search(species):
        return f'Patient Species Description is "{species}", not a human head'
    return ""


def _by_coil(header: Dataset, stated: str) -> BodyPart:
    coil = text(header, "ReceiveCoilName") or text(header, SIEMENS_COIL)
    elements = [part for part in re.split(r"[:;,\\ ]+", coil) if part]
    if coil and _HEAD_ELEMENTS.search(coil):
        return BodyPart(head=True, stated=stated, sentence=f'Received with the head coil "{coil}"')
    if elements and all(_SPINE_ELEMENTS.match(part) for part in elements):
        return BodyPart(
            head=False, stated=stated, sentence=f'Received with "{coil}" alone, which is no head coil'
        )
    return BodyPart(head=None, stated=stated, sentence="No body part is stated anywhere")


def _stated(header: Dataset) -> str:
    found = text(header, "BodyPartExamined")
    if found:
        return found
    shared = first_item(header, "SharedFunctionalGroupsSequence") or Dataset()
    anatomy = first_item(shared, "FrameAnatomySequence") or Dataset()
    regions = items(header, "AnatomicRegionSequence") or items(anatomy, "AnatomicRegionSequence")
    return text(regions[0], "CodeMeaning") if regions else ""
