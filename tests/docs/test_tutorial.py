"""The tutorial of the README, run line by line as a reader would: every command ends well and prints what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command, and the lines that its output holds in this order; `...` stands for anything."""

    command: str
    shown: tuple[str, ...]


def steps(section: str) -> list[Step]:
    """The commands of the console blocks in a section of the README."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    body = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = []
    for block in re.findall(r"```console\n(.*?)```", body, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append(Step(command=command, shown=tuple(shown.splitlines())))
    return found


def without_numbers(text: str) -> str:
    """Times, measures and UIDs differ from run to run, from machine to machine and from weights to weights."""
    return re.sub(r"\d+(\.\d+)*", "#", re.sub(r"^ *(?=\d)", "", text, flags=re.MULTILINE))


def missing_line(shown: tuple[str, ...], output: str) -> str | None:
    """The first shown line that the output does not have after the ones before it."""
    lines = iter(output.splitlines())
    for wanted in shown:
        if wanted.strip() == "...":
            continue
        pattern = ".*".join(re.escape(part) for part in wanted.rstrip().split("..."))
        if not any(re.fullmatch(pattern, line.rstrip()) for line in lines):
            return wanted
    return None


def test_the_comparison_finds_a_line_that_is_not_there() -> None:
    output = "first\nsecond 12 s\nthird\n"
    assert missing_line(("first", "...", "second ... s", "third"), output) is None
    assert missing_line(("second ... s", "first"), output) == "first"
    assert missing_line(("second",), output) == "second"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDK2N")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["COLUMNS"] = "400"  # a wide terminal: no line is folded
    found = steps("Tutorial")
    assert len(found) >= 6
    [make_demo] = [step for step in steps("Two commands") if step.command == "make demo"]
    for step in found:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step.command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {step.command}\n{done.stdout}\n{done.stderr}"
        missing = missing_line(step.shown, done.stdout)
        assert missing is None, f"$ {step.command}\ndid not print: {missing}\nbut:\n{done.stdout}"
        if step.command.startswith(
            "medk2n demo"
        ):  # what `make demo` runs: the output that the README opens with
            shown = tuple(without_numbers(line) for line in make_demo.shown)
            missing = missing_line(shown, without_numbers(done.stdout))
            assert missing is None, f"$ make demo\ndid not print: {missing}\nbut:\n{done.stdout}"
    assert list((tmp_path / "first").rglob("*.png")), "the tutorial promises a picture"
