"""The DICOM Conformance Statement (PS3.2) of the node, from the tables that the node itself works by.

In: `Tables`, values that the caller collects from the live code and configuration. Out: the statement as one JSON
document, and that document as Markdown. Never: a table of its own that the code could leave behind; what our objects
contain is read off objects that the encoders wrote.
"""

from __future__ import annotations

from dicom_rules.conformance.contents import ObjectContents, StatedAttribute, contents
from dicom_rules.conformance.examples import MADE, Made, example_objects
from dicom_rules.conformance.markdown import to_markdown
from dicom_rules.conformance.statement import statement
from dicom_rules.conformance.tables import (
    Behaviour,
    Limit,
    Rejection,
    Remote,
    SopClass,
    Syntax,
    Tables,
    UsedAttribute,
)
from dicom_rules.conformance.used import keywords_in, keywords_of, private_attributes, used_attributes

__all__ = [
    "MADE",
    "Behaviour",
    "Limit",
    "Made",
    "ObjectContents",
    "Rejection",
    "Remote",
    "SopClass",
    "StatedAttribute",
    "Syntax",
    "Tables",
    "UsedAttribute",
    "contents",
    "example_objects",
    "keywords_in",
    "keywords_of",
    "private_attributes",
    "statement",
    "to_markdown",
    "used_attributes",
]
