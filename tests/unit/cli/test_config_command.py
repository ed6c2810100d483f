"""`medk2n config check|show` as a person and a script see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medk2n_node.cli import main
from medk2n_node.config import load_config


def test_check_says_that_a_valid_file_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "site.toml"
    file.write_text("[completion]\nquiet_seconds = 5\n", encoding="utf-8")
    assert main(["--config", str(file), "config", "check"]) == 0
    assert capsys.readouterr().out == f"{file}: valid\n"


def test_check_ends_with_3_and_one_line_when_a_key_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    file.write_text("[completion]\nquiet = 5\n", encoding="utf-8")
    assert main(["--config", str(file), "config", "check", "--json"]) == 3
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {file} line 2: completion.quiet: there is no such key. ")
    assert captured.err.count("\n") == 1
    assert json.loads(captured.out)["error"]["code"] == "config_unknown_key"


def test_show_prints_toml_that_gives_the_same_configuration_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        '[[peers]]\nae_title = "MR\\"1"\nhosts = ["10.0.0.0/8"]\n'
        '[[classification.overrides]]\ndescription = "^a\\\\d"\ncontrast = "T1"\n',
        encoding="utf-8",
    )
    assert main(["--config", str(file), "config", "show"]) == 0
    again = tmp_path / "again.toml"
    again.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_config(again, {}) == load_config(file, {})


def test_show_masks_the_password_of_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDK2N__NODE__DATABASE", "postgresql+psycopg://node:secret@db/medk2n")
    assert main(["config", "show", "--json"]) == 0
    out = capsys.readouterr().out
    assert "secret" not in out
    assert json.loads(out)["node"]["database"] == "postgresql+psycopg://node:***@db/medk2n"


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sned"]) == 2
    assert "No such command 'sned'" in capsys.readouterr().err
