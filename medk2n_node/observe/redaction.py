"""What foreign code says about an error, without what it quotes.

pydicom, Python and the decoders put the value that they stumble over into their messages: "Invalid value for VR DA:
'19450230'" is a date of birth in a log. The node's own errors name objects by their UIDs and are left as they are; of
all others what stands in quotation marks is taken out.
"""

from __future__ import annotations

import re
import traceback
from types import TracebackType

REMOVED = "[not shown]"
OUR_PACKAGES = ("medk2n_node", "dicom_rules", "model", "training")
_QUOTED = re.compile(r"""(?<!\w)b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.DOTALL)

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def without_values(words: str) -> str:
    """`words` of a library with every quoted value replaced."""
    return _QUOTED.sub(REMOVED, words)


def words_of(error: BaseException) -> str:
    """Type and message of an error, fit for a log or a table."""
    return f"{type(error).__name__}: {message_of(error)}"


def message_of(error: BaseException) -> str:
    """The message of an error, fit for a log or a table."""
    if type(error).__module__.partition(".")[0] in OUR_PACKAGES:
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or without_values(str(error))
    return without_values(str(error))


def traceback_of(exc_info: ExceptionInfo) -> str:
    """The traceback of an error and of what led to it, with `words_of` each; no values of variables."""
    parts: list[str] = []
    error: BaseException | None = exc_info[1]
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{words_of(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich came from:\n\n".join(parts)
