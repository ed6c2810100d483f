"""What a site says of its series and protocols is checked before anything starts: file, entry, key, valid example."""

from __future__ import annotations

from pathlib import Path

import pytest

from medk2n_node.cli import main

SITE = '[protocols]\nfile = "protocols.toml"\n'


def check(folder: Path, content: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    file = folder / "site.toml"
    file.write_text(content, encoding="utf-8")
    code = main(["--config", str(file), "config", "check"])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "place", "said", "example"),
    [
        (
            '[[classification.overrides]]\ndescription = "a"\ncontrast = "T1"\n'
            '[[classification.overrides]]\ndescription = "("\ncontrast = "T1"\n',
            "site.toml line 5: classification.overrides[1].description",
            "not a regular expression",
            'description = "^AX FLAIR"',
        ),
        (
            '[[classification.overrides]]\nstatoin = "MR1"\ncontrast = "T1"\n',
            "site.toml line 2: classification.overrides[0].statoin",
            "Did you mean classification.overrides.station?",
            "",
        ),
        (
            '[[classification.overrides]]\nstation = "MR1"\ncontrast = "T7"\n',
            "site.toml line 3: classification.overrides[0].contrast: ",
            'not "T7"',
            'contrast = "FLAIR"',
        ),
        (
            '[[classification.overrides]]\ncontrast = "T1"\n',
            "site.toml line 1: classification.overrides[0]",
            "needs ae_title, station or description",
            'description = "^AX FLAIR"',
        ),
        (
            '[classification]\non_image_disagreement = "maybe"\n',
            "site.toml line 2: classification.on_image_disagreement",
            "'hold', 'exclude' or 'ignore'",
            'on_image_disagreement = "ignore"',
        ),
    ],
)
def test_a_fault_in_an_override_is_named(
    content: str, place: str, said: str, example: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = check(tmp_path, content, capsys)
    assert code == 3
    assert place in error
    assert said in error
    assert example in error


@pytest.mark.parametrize("command", [["config", "check"], ["serve"], ["serve", "worker"]])
def test_a_fault_in_the_file_of_protocols_stops_the_start(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text(SITE, encoding="utf-8")
    (tmp_path / "protocols.toml").write_text('[[protocol]]\nname = "x"\nexpects = ["T9"]\n', encoding="utf-8")
    assert main(["--config", str(tmp_path / "site.toml"), *command]) == 3
    error = capsys.readouterr().err
    assert 'protocols.toml, protocol 1 ("x"): expects names "T9"' in error
    assert "A valid protocol is" in error


def test_a_file_of_protocols_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = check(tmp_path, SITE, capsys)
    assert code == 3
    assert "protocols.toml: the file of protocols cannot be read" in error


def test_valid_overrides_and_protocols_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "protocols.toml").write_text(
        '[[protocol]]\nname = "x"\nmatches = ["x"]\nexpects = ["T1"]\nsources = { T1 = ["T2"] }\n',
        encoding="utf-8",
    )
    content = SITE + '[[classification.overrides]]\nae_title = "^KIDS"\ncontrast = "none"\n'
    assert check(tmp_path, content, capsys)[0] == 0
