"""What the C library does with memory that the network frees: kept while a study is computed, given back behind it.

By default glibc hands a freed block of more than some hundred kilobytes back to the system and asks for it anew with
the next tensor; the system clears it page by page. On two cores that is a sixth of the network's time (decision 0036).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt(3): names of parameters.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
#: The largest block that the heaps of threads can hold, and more than any tensor of a tile (`model.tiles`).
_FROM_THE_HEAP = 32 << 20
_NEVER = 1 << 30
#: More than two heaps of a thread: below it, an empty heap behind another one is unmapped.
_TWO_HEAPS = 128 << 20

#: Behind it: what glibc's own rule arrives at once a large block was freed (M_MMAP_THRESHOLD in mallopt(3)).
_AFTER = ((_MMAP_THRESHOLD, _FROM_THE_HEAP), (_TRIM_THRESHOLD, 2 * _FROM_THE_HEAP), (_TOP_PAD, 128 << 10))

_users, _counting = 0, threading.Lock()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """While this is open, memory that is freed stays with the process; behind the last one it goes back.

    Does nothing where the C library is not glibc.
    """
    global _users
    library = _glibc()
    if library is None:
        yield
        return
    with _counting:
        _users += 1
        for name, value in (
            (_MMAP_THRESHOLD, _FROM_THE_HEAP),
            (_TRIM_THRESHOLD, _NEVER),
            (_TOP_PAD, _TWO_HEAPS),
        ):
            library.mallopt(name, value)
    try:
        yield
    finally:
        with _counting:
            _users -= 1
            if _users == 0:
                for name, value in _AFTER:
                    library.mallopt(name, value)
                library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # TypeError: Windows knows no library without a name
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None
