"""Memory that the network frees stays while a study is computed, and goes back to the system behind it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from medk2n_node.synthesis import allocator

TILES = """
import contextlib, json, resource, sys, threading
from pathlib import Path
from medk2n_node.synthesis.allocator import freed_memory_kept

def tiles():
    for _ in range(6):
        tensors = [b"x" * (20 << 20) for _ in range(6)]  # as those of a tile

def resident_mib():
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS")]
    return int(line.split()[1]) / 1024

before = resident_mib()
inside = 0.0
with freed_memory_kept() if sys.argv[1] == "kept" else contextlib.nullcontext():
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=tiles)
    thread.start()
    thread.join()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    inside = resident_mib()
print(json.dumps({"pages": faults, "inside": inside - before, "behind": resident_mib() - before}))
"""


def measured(how: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", TILES, how], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system's own count of pages is Linux's")
def test_the_system_clears_the_memory_of_a_tile_once_and_has_it_back_behind_the_last() -> None:
    plain, kept = measured("plain"), measured("kept")
    assert plain["pages"] > 4 * 6 * 20 * 256  # nearly every round anew, in pages of 4 KiB
    assert kept["pages"] < plain["pages"] / 2
    assert kept["inside"] - kept["behind"] > 100  # MiB; a heap of a thread stays


def test_where_there_is_no_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with allocator.freed_memory_kept():
        pass
    assert allocator._users == 0


def test_one_study_in_another_gives_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    class Library:
        def mallopt(self, *given: int) -> int:
            calls.append(given)
            return 1

        def malloc_trim(self, pad: int) -> int:
            calls.append((pad,))
            return 1

    monkeypatch.setattr(allocator, "_glibc", Library)
    with pytest.raises(MemoryError), allocator.freed_memory_kept():
        with allocator.freed_memory_kept():
            pass
        assert (0,) not in calls
        raise MemoryError
    assert calls[-1] == (0,) and calls.count((0,)) == 1
