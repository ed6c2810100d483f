"""One finding of `medk2n doctor`, and the question it puts to DICOM peers."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


class State(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # the node runs; something a person should know
    ERROR = "error"  # the node would not run, or not rightly
    UNREACHABLE = "unreachable"  # a DICOM peer does not answer


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, what was found, and what to do where it is not well."""

    name: str
    state: State
    found: str
    cure: str = ""

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "state": str(self.state), "found": self.found, "cure": self.cure}


@dataclass(frozen=True, kw_only=True)
class Echoed:
    """What became of a C-ECHO; `words` say why where it is no success."""

    outcome: Literal[
        "success", "refused", "silent"
    ]  # refused: a DICOM node is there, and will not talk to us
    words: str = ""


Echo = Callable[[str, str, int, bool], Echoed]
"""Called with (AE title, host, port, TLS)."""
