"""`medk2n demo` as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "medk2n_node", "demo"]


def processes_that_mention(folder: Path) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        if str(folder) in words:
            found.append(words)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_phantom_goes_in_and_a_checked_synthetic_flair_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = subprocess.run(
        [*DEMO, "--json", "--out", str(out)], capture_output=True, text=True, timeout=1100, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert summary["state"] == "DELIVERED" and summary["good"] is True
    (series,) = summary["series"]
    assert (series["contrast"], series["instances"]) == ("FLAIR", 28)
    assert series["tags"]["SyntheticData"] == "YES"
    assert [
        (one["kind"], one["instances"]) for one in sorted(summary["beside"], key=lambda one: one["kind"])
    ] == [
        ("report", 1),
        ("uncertainty", 1),
    ]
    assert all(check["kept"] for one in summary["beside"] for check in one["checks"])
    assert {check["promise"]: check["kept"] for check in series["checks"]} == {
        "every object says that it is synthetic": True,
        "as many slices as its reference": True,
        "the same grid as its reference, string by string": True,
        "the same frame of reference": True,
        "the same patient and study": True,
        "valid DICOM (dciodvfy)": True,
    }
    assert series["score"]["psnr_db"] > 0 and series["score"]["ssim"] > 0
    assert any(sentence.startswith("FLAIR (make)") for sentence in summary["plan"])
    assert Path(series["picture"]).read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path(summary["files"]["summary"]).read_text()) == summary
    assert "DELIVERED" in done.stderr and "sent 56 objects" in done.stderr
    assert processes_that_mention(out) == []

    again = subprocess.run(
        [*DEMO, "--out", str(out)], capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 2 and "holds an earlier demonstration" in again.stderr


@pytest.mark.timeout(120)
def test_the_first_line_comes_at_once_and_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    started = time.monotonic()
    process = subprocess.Popen(
        [*DEMO, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        assert b"Not for clinical use" in process.stdout.readline()
        # Two seconds on a quiet machine; a busy one gets three times as long.
        assert time.monotonic() - started < 6
        for _ in range(100):
            if (out / "pacs").exists():
                break
            time.sleep(0.1)
        assert processes_that_mention(out)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=60) != 0
        assert [words for words in processes_that_mention(out) if "medk2n_node" in words] == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


FALLS_INTO_A_DESTRUCTOR = """
import os, signal
from medk2n_node.cli import demo
from rich.console import Console

signal.signal(signal.SIGINT, demo._interrupt)

class Volume:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))

with demo._Teller(Console()) as teller:
    teller.stage("loading")
    Volume()
    print("Python dropped it", flush=True)
    teller.stage("drawing")
    print("and nobody raised it again", flush=True)
"""


@pytest.mark.timeout(60)
def test_an_interrupt_that_python_drops_still_ends_the_demonstration() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FALLS_INTO_A_DESTRUCTOR],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Python dropped it" in done.stdout and "nobody raised" not in done.stdout
    assert done.returncode != 0 and done.stderr.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.timeout(60)
def test_a_folder_without_dicom_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    done = subprocess.run(
        [*DEMO, "--study", str(tmp_path), "--out", str(tmp_path / "out"), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "not_a_study"
    assert processes_that_mention(tmp_path / "out") == []
