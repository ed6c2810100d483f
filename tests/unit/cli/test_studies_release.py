"""`medk2n studies release`: what it lets go on, and what it refuses to wave through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from medk2n_node.config import load_config
from medk2n_node.store import open_store
from medk2n_node.store.tables import Revision, Study

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """The environment of a node with one study held for superseding and one held for another reason."""
    settings = {
        "MEDK2N__NODE__STORAGE": str(tmp_path / "storage"),
        "MEDK2N__NODE__DATABASE": f"sqlite:///{tmp_path / 'node.db'}",
    }
    store = open_store(load_config(None, settings))
    with store.session() as session:
        for uid, code in (("1.1", "supersedes"), ("1.2", "two_patients")):
            session.add(Study(study_uid=uid, patient_hash="p", first_at=NOW, last_at=NOW, calling_ae="MR1"))
            session.flush()
            session.add(
                Revision(
                    study_uid=uid,
                    number=1,
                    state="HELD",
                    code=code,
                    words="a person has to look",
                    created_at=NOW,
                    updated_at=NOW,
                    evidence={"completion": {"code": "quiet"}},
                )
            )
    store.close()
    return settings


def release(uid: str, settings: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medk2n_node", "studies", "release", uid, *options],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **settings, "COLUMNS": "500"},
        check=False,
    )


def test_a_superseding_that_is_held_goes_on_once(settings: dict[str, str]) -> None:
    done = release("1.1", settings, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (
        0,
        {"study_uid": "1.1", "revision": 1, "state": "SETTLED"},
    )
    again = release("1.1", settings)
    assert again.returncode == 2
    assert "revision 1 is SETTLED: only HELD can be released" in again.stderr


def test_another_reason_to_hold_cannot_be_waved_through(settings: dict[str, str]) -> None:
    done = release("1.2", settings)
    assert done.returncode == 2
    assert "it is held for another reason (two_patients: a person has to look)" in done.stderr


def test_an_unknown_study_is_bad_input(settings: dict[str, str]) -> None:
    assert release("9.9.9", settings).returncode == 3
