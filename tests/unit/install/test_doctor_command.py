"""`medk2n doctor`, as a person and as a script see it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from medk2n_node.cli import main
from medk2n_node.cli.doctor import exit_code, summary
from medk2n_node.installation import environment, machine, stray
from medk2n_node.installation.checks import Check, State

OK = Check(name="python", state=State.OK, found="Python 3.11")
WARNING = Check(name="dciodvfy", state=State.WARNING, found="not installed")
ERROR = Check(name="storage", state=State.ERROR, found="cannot be written")
SILENT = Check(name="destination pacs", state=State.UNREACHABLE, found="nothing answers")


@pytest.mark.parametrize(
    ("checks", "code"),
    [([OK], 0), ([OK, WARNING], 0), ([OK, SILENT], 5), ([OK, SILENT, ERROR], 1), ([OK, ERROR], 1)],
)
def test_the_exit_code_says_what_kind_of_trouble(checks: list[Check], code: int) -> None:
    assert exit_code(checks) == code


def test_the_last_line_names_what_failed() -> None:
    assert summary([OK, WARNING]) == "all 2 checks passed, 1 warning"
    assert summary([OK, ERROR, SILENT]) == "2 of 3 checks failed: storage, destination pacs"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder to start from; the checks that load the network are answered beforehand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDK2N__NODE__PORT", "0")
    monkeypatch.setattr(machine, "weights", lambda config: OK)
    monkeypatch.setattr(machine, "device", lambda config: OK)
    yield tmp_path


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_json_is_one_document_with_every_check(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    names = {check["name"] for check in report["checks"]}
    assert {"python", "packages", "package training", "sam2's stray package", "storage", "database"} <= names
    assert all(set(check) == {"name", "state", "found", "cure"} for check in report["checks"])


def test_a_person_reads_a_table_and_a_last_line(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok") and "package training" in line for line in lines)
    assert "checks passed" in lines[-1]


def test_a_silent_destination_is_exit_code_5_and_says_what_to_look_at(
    quick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (quick / "node.toml").write_text(
        f'[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {closed_port()}\n'
    )
    assert main(["doctor"]) == 5
    out = " ".join(capsys.readouterr().out.split())
    assert "destination pacs" in out
    assert "does it know our AE title" in out


def test_a_wrong_configuration_is_bad_input(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (quick / "node.toml").write_text("[node]\nae_titel = 'X'\n")
    assert main(["doctor", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "config_unknown_key"


def test_repair_clears_away_what_sam2_leaves_and_says_so(
    quick: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned = []

    def remove(place: Path) -> tuple[str, ...]:
        cleaned.append(place)
        return ("training/__init__.py",)

    monkeypatch.setattr(stray, "remove", remove)
    assert main(["doctor", "--repair"]) == 0
    assert cleaned == [environment.site_packages()]
    assert "removed 1 files of sam2's stray package" in capsys.readouterr().err
