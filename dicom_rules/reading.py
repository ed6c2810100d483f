"""Tolerant reading of single attributes: real headers hold empty, misspelt and over-long values.

A value that cannot be read is absent (None or empty), never an exception: the rules then abstain or refuse
with a sentence, where a parser's traceback would name neither the series nor the cure.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any, ParamSpec, TypeVar

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def tolerant(door: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A door behind which pydicom's warnings about values that break their VR are not repeated.

    Converters write "SK_SP_MP_OSP" into a CS of 16 characters, and nobody at the PACS can act on it. The rules say
    what they miss in their own sentences.
    """

    @functools.wraps(door)
    def quiet(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return door(*args, **kwargs)

    return quiet


def value(header: Dataset, key: str | BaseTag) -> Any:
    """The attribute's value, or None when it is absent, empty or not readable as its VR."""
    try:
        element = header.get(key)
    except (ValueError, TypeError, OverflowError, NotImplementedError, UnicodeError, AttributeError):
        # pydicom converts lazily: "***" in a DS or DA fails here, at the first look at the element.
        return None
    if isinstance(key, str):
        found = element
    else:
        found = None if element is None else element.value
    return None if found is None or found == "" else found


def text(header: Dataset, key: str | BaseTag) -> str:
    """The attribute as one stripped string; several values are joined by a backslash, absent is empty."""
    return "\\".join(texts(header, key))


GB2312_DESIGNATION = "\x1b$)A"
"""The escape sequence of ISO 2022 IR 58 (PS3.3 table C.12-4), which pydicom 3.0 leaves in the text that it decodes."""


def texts(header: Dataset, key: str | BaseTag) -> tuple[str, ...]:
    """All values of the attribute as stripped strings, empty ones included, absent is the empty tuple."""
    found = value(header, key)
    if found is None or isinstance(found, DicomSequence):
        return ()
    if isinstance(found, bytes):
        found = found.decode("ascii", errors="replace").strip("\0 ").split("\\")
    if isinstance(found, str) or not isinstance(found, (MultiValue, list, tuple)):
        return (_plain(found),)
    return tuple(_plain(one) for one in found)


def _plain(found: object) -> str:
    return str(found).replace(GB2312_DESIGNATION, "").strip()


def numbers(header: Dataset, key: str | BaseTag) -> tuple[float, ...]:
    """All values of the attribute as finite floats; empty when any of them is not a number."""
    read: list[float] = []
    for one in texts(header, key):
        try:
            number = float(one)
        except ValueError:
            return ()
        if not math.isfinite(number):
            return ()
        read.append(number)
    return tuple(read)


def number(header: Dataset, key: str | BaseTag) -> float | None:
    """The first value of the attribute as a finite float, or None."""
    found = numbers(header, key)
    return found[0] if found else None


def items(header: Dataset, key: str | BaseTag) -> tuple[Dataset, ...]:
    """The items of a sequence attribute; empty when it is absent or no sequence."""
    found = value(header, key)
    return tuple(found) if isinstance(found, DicomSequence) else ()


def first_item(header: Dataset, key: str | BaseTag) -> Dataset | None:
    """The first item of a sequence attribute, or None."""
    found = items(header, key)
    return found[0] if found else None


def instance_name(header: Dataset) -> str:
    """How to name an instance to a person: its SOP Instance UID and, where it was read from one, its file."""
    uid = text(header, "SOPInstanceUID") or "without SOP Instance UID"
    filename = getattr(header, "filename", None)
    if isinstance(filename, (str, PurePath)) and str(filename):
        return f"instance {uid} ({PurePath(str(filename)).name})"
    return f"instance {uid}"


def distinct(values: Iterable[str]) -> tuple[str, ...]:
    """The values without repetition, in order of first appearance."""
    return tuple(dict.fromkeys(values))
