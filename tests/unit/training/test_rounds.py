"""A training that no longer fits what is asked is set aside whole, and one that fits is left where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.errors import TrainingError
from training.rounds import PARTS, claim_source, half_set_aside, misfit, set_aside

ASKED: dict[str, Any] = {"fingerprint": "aa", "steps": 30, "batch": 3, "in_force": "1" * 64}


def round_in(out: Path, finished: bool = True) -> None:
    """What a round leaves, as far as it matters here."""
    for name in ("run", "report", "champion", "bundle"):
        (out / name).mkdir(parents=True, exist_ok=True)
    (out / "run" / "fit.json").write_text(json.dumps({"archives": ["aa"], "steps": 30, "batch": 3}))
    for name, digest in (("champion", "1"), ("bundle", "2")):
        (out / name / "bundle.json").write_text("{}")
        (out / name / "bundle.sha256").write_text(digest * 64)
    if finished:
        (out / "site.json").write_text("{}")


@pytest.fixture(autouse=True)
def stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of a folder as the file of this test says it."""
    monkeypatch.setattr(
        "training.rounds.stated_digest", lambda folder: (folder / "bundle.sha256").read_text()
    )


def test_nothing_there_and_the_same_again_fit(tmp_path: Path) -> None:
    assert misfit(tmp_path, **ASKED) is None
    round_in(tmp_path)
    assert misfit(tmp_path, **ASKED) is None
    assert misfit(tmp_path, **{**ASKED, "in_force": "2" * 64}) is None, "its own offer was promoted"


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    round_in(tmp_path)
    assert misfit(tmp_path, **{**ASKED, "fingerprint": "bb"}) == "the archive has changed"
    assert "30 steps of 3 slices, now 2000 of 6" in str(
        misfit(tmp_path, **{**ASKED, "steps": 2000, "batch": 6})
    )
    assert misfit(tmp_path, **{**ASKED, "in_force": "3" * 64}) == "another model is in force"


def test_a_training_under_way_keeps_its_yardstick(tmp_path: Path) -> None:
    round_in(tmp_path, finished=False)
    assert misfit(tmp_path, **{**ASKED, "in_force": "3" * 64}) is None


@pytest.mark.parametrize("killed_after", range(len(PARTS)))
def test_a_round_is_set_aside_whole_even_when_that_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    round_in(tmp_path)
    rename, moved = Path.rename, []

    def until_killed(self: Path, target: Path) -> Path:
        if len(moved) == killed_after:
            raise KeyboardInterrupt
        moved.append(self.name)
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", until_killed)
        with pytest.raises(KeyboardInterrupt):
            set_aside(tmp_path)
    assert half_set_aside(tmp_path) and misfit(tmp_path, **ASKED) is not None, (
        "it is known not to be finished"
    )
    folder = set_aside(tmp_path)
    assert folder == tmp_path / "earlier" / "1"
    assert sorted(one.name for one in folder.iterdir()) == sorted(PARTS)
    assert [one.name for one in tmp_path.iterdir()] == ["earlier"]
    assert misfit(tmp_path, **ASKED) is None
    round_in(tmp_path)
    assert set_aside(tmp_path) == tmp_path / "earlier" / "2"


def test_two_folders_of_one_name_do_not_share_a_place_of_work(tmp_path: Path) -> None:
    north, south = tmp_path / "north" / "mr", tmp_path / "south" / "mr"
    for folder in (north, south):
        folder.mkdir(parents=True)
    file = tmp_path / "source.private.json"
    claim_source(north, file)
    assert file.stat().st_mode & 0o077 == 0
    claim_source(north / ".." / "mr", file)
    with pytest.raises(TrainingError) as caught:
        claim_source(south, file)
    assert caught.value.code == "other_source" and "--out" in caught.value.cure
