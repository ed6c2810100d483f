"""What was asked for and what was done, in words and codes; nothing about the patient."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from dicom_rules.reading import distinct, items, text

WORDS = (
    "StudyDescription",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
    "ReasonForTheRequestedProcedure",
    "ReasonForStudy",
    "AdmittingDiagnosesDescription",
    "ProtocolName",
)
CODES = (
    "ProcedureCodeSequence",
    "RequestedProcedureCodeSequence",
    "PerformedProtocolCodeSequence",
    "ReasonForRequestedProcedureCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
    "AdmittingDiagnosesCodeSequence",
)
"""Code sequences at the top of the object (PS3.3 C.7.2.1 and C.7.3.1) and in the items of the request."""


def procedure_words(header: Dataset) -> tuple[str, ...]:
    """The names of study, request, procedure and reason, and the meanings of their codes."""
    places = _places(header)
    words = [text(place, keyword) for place in places for keyword in WORDS]
    words += [text(code, "CodeMeaning") for code in _codes(header)]
    return tuple(word for word in distinct(words) if word)


def procedure_codes(header: Dataset) -> tuple[str, ...]:
    """The same as codes, "SCHEME:VALUE"."""
    written = (
        f"{text(code, 'CodingSchemeDesignator')}:{text(code, 'CodeValue') or text(code, 'LongCodeValue')}"
        for code in _codes(header)
    )
    return tuple(code for code in distinct(written) if not code.endswith(":"))


def _places(header: Dataset) -> tuple[Dataset, ...]:
    return (header, *items(header, "RequestAttributesSequence"))


def _codes(header: Dataset) -> Iterator[Dataset]:
    for place in _places(header):
        for keyword in CODES:
            yield from items(place, keyword)
