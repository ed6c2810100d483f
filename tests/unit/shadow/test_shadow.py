"""In the shadow a study leaves figures and nothing else, and drift is told from chance."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

import medk2n_node.shadow.run
from medk2n_node.cli.app import main
from medk2n_node.config import Config
from medk2n_node.shadow import Shadow, ShadowRow, Tried, chosen, drift_of, ledger_of, shadow_study
from medk2n_node.shadow.run import Interrupted
from medk2n_node.store.tables import Revision, RevisionInstance
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.synthesis import Measured
from tests.unit.study.test_steps import Bench, bench  # noqa: F401 - a fixture

NOW = datetime(2026, 2, 1, 8, tzinfo=UTC)


def row(number: int, psnr: float | None, target: str = "T2", model: str = "ab" * 32) -> ShadowRow:
    return ShadowRow(
        at=NOW + timedelta(hours=number), revision=number, scanner="Maker X", field_t=3.0, protocol="0123456789ab",
        target=target, sources=("T1",), psnr_db=psnr, error=0.05, expected=0.06, abstained=False, model=model,
    )  # fmt: skip


def rows(values: Sequence[float | None], **facts: str) -> list[ShadowRow]:
    return [row(k, value, **facts) for k, value in enumerate(values)]


def usual(count: int, seed: int = 0) -> list[float | None]:
    return [float(v) for v in 20 + 0.5 * np.random.default_rng(seed).standard_normal(count)]


def test_a_scanner_that_stays_as_it_was_is_steady_and_one_bad_study_is_no_drift() -> None:
    assert [one.verdict for one in drift_of(rows([*usual(40)]))] == ["steady"]
    assert [one.verdict for one in drift_of(rows([*usual(30), 18.6, *usual(8, 1)]))] == ["steady"]


def test_a_scanner_that_became_slightly_worse_for_many_studies_is_told_and_stands_first() -> None:
    worse = rows([*usual(20), *[v - 1.5 for v in usual(15, 2) if v is not None]])
    found = drift_of([*worse, *rows(usual(30), target="FLAIR")])
    assert [(one.target, one.verdict) for one in found] == [("T2", "worse"), ("FLAIR", "steady")]
    assert found[0].now is not None and found[0].usual is not None and found[0].limit is not None
    assert found[0].now < found[0].usual - found[0].limit


def test_few_rows_say_that_they_are_few_and_another_model_begins_anew() -> None:
    few = drift_of(rows([20.0, 21.0, None]))
    assert few[0].verdict == "too few rows (2 of more than 12)" and few[0].rows == 2
    led = drift_of(
        [*rows(usual(3), model="ef" * 32), *rows(usual(20)), *rows([20.0] * 13 + [12.0] * 9, target="T1")]
    )
    assert [one.verdict[:7] for one in led] == ["worse", "steady", "too few"], (
        "what became worse stands first"
    )
    both = drift_of([*rows(usual(20)), *rows([10.0] * 20, model="cd" * 32)])
    assert {one.verdict for one in both} == {"steady"}


def test_one_study_in_n_is_chosen_and_always_the_same() -> None:
    uids = [f"1.2.{k}" for k in range(2000)]
    picked = [uid for uid in uids if chosen(uid, 4)]
    assert 400 < len(picked) < 600
    assert picked == [uid for uid in uids if chosen(uid, 4)]
    assert not any(chosen(uid, 0) for uid in uids)
    assert all(chosen(uid, 1) for uid in uids)


def test_rows_are_kept_and_a_line_that_a_crash_cut_short_costs_nothing(node_config: Config) -> None:
    ledger = ledger_of(node_config)
    assert ledger.rows() == [] and ledger.tried() == set()
    ledger.add([row(1, 20.0)], Tried(at=NOW, revision=1, words="1 contrast"))
    with ledger.file.open("a") as handle:
        handle.write('{"kind": "row", "at": "2026-')
    ledger.add([row(2, 21.0)], Tried(at=NOW, revision=2, words="1 contrast"))
    assert ledger.rows() == [row(1, 20.0), row(2, 21.0)], "the next study begins on a line of its own"
    assert ledger.tried() == {1, 2}


def test_a_study_that_was_looked_at_again_counts_once(node_config: Config) -> None:
    ledger = ledger_of(node_config)
    for psnr in (20.0, 20.5):  # a crash between row and mark: the second look counts
        ledger.add([row(1, psnr)], Tried(at=NOW, revision=1, words="1 contrast"))
    ledger.add([row(2, 22.0)], Tried(at=NOW, revision=2, words="1 contrast"))
    assert [(one.revision, one.psnr_db) for one in ledger.rows()] == [(1, 20.5), (2, 22.0)]
    ledger.add([row(3, 21.0)], Tried(at=NOW, revision=3, words="1 contrast", instead=(1,)))
    assert [one.revision for one in ledger.rows()] == [2, 3]


def test_two_workers_do_not_take_the_same_study(bench: Bench, quick: None) -> None:  # noqa: F811
    finished(bench)
    with ledger_of(bench.context.config).turn() as ours:
        assert ours
        assert not watching(bench).look(), "another worker is at it"
    assert watching(bench).look()


def test_a_study_that_grew_counts_once(bench: Bench, quick: None) -> None:  # noqa: F811
    first = finished(bench)
    shadow = watching(bench)
    assert shadow.look()
    with bench.store.session() as session:
        before = session.get_one(Revision, first)
        grown = Revision(**{
            column.key: getattr(before, column.key)
            for column in Revision.__table__.columns if column.key != "id"
        })  # fmt: skip
        grown.number = before.number + 1
        session.add(grown)
        session.flush()
        second = grown.id
        for link in session.scalars(select(RevisionInstance).where(RevisionInstance.revision_id == first)):
            values = {c.key: getattr(link, c.key) for c in RevisionInstance.__table__.columns}
            session.add(RevisionInstance(**{**values, "revision_id": second}))
    assert shadow.look()
    kept = ledger_of(bench.context.config)
    assert {one.revision for one in kept.rows()} == {second} and kept.tried() == {first, second}
    assert [one.rows for one in drift_of(kept.rows())] == [1, 1]
    assert not shadow.look()


def test_a_database_that_is_away_is_no_fault_of_the_study(
    bench: Bench,  # noqa: F811
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished(bench)

    def away(*arguments: Any, **options: Any) -> Any:
        raise OperationalError("select", {}, Exception("database is locked"))

    shadow = watching(bench, synthesize=away)
    with pytest.raises(OperationalError):
        shadow.look()
    assert ledger_of(bench.context.config).tried() == set(), "it is looked at again"
    assert watching(bench).look()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison without looking for a brain."""

    def compare(made: Any, real: Any, *, contrast: str, scale: float) -> Measured:
        assert made.array.shape == real.array.shape or made.array.ndim == 3
        return Measured(psnr_db=21.5, error=0.04, voxels=5000, words="")

    monkeypatch.setattr(medk2n_node.shadow.run, "compare_volumes", compare)


def finished(bench: Bench) -> int:  # noqa: F811
    """The study planned, and set to a state after which nothing more is made."""
    revision = bench.settle()
    plan_revision(bench.context, revision)
    with bench.store.session() as session:
        session.get_one(Revision, revision).state = "DELIVERED"
    return revision


def watching(bench: Bench, every: int = 1, **changes: Any) -> Shadow:  # noqa: F811
    values = bench.context.config.model_dump()
    config = Config.model_validate({**values, "shadow": {"every": every}})
    return Shadow(replace(bench.context, config=config, **changes), threading.Event())


def test_every_contrast_that_is_there_is_made_from_the_others_and_only_figures_remain(
    bench: Bench,  # noqa: F811
    quick: None,
) -> None:
    revision = finished(bench)
    before = sorted(bench.store.root.rglob("*.dcm"))
    shadow = watching(bench)
    assert shadow.look()
    kept = ledger_of(bench.context.config)
    found = kept.rows()
    assert {(one.target, one.psnr_db, one.revision) for one in found} == {
        ("T1", 21.5, revision), ("T2", 21.5, revision),
    }  # fmt: skip
    assert all(one.model == "ab" * 32 and len(one.protocol) == 12 for one in found)
    assert not shadow.look(), "no study is looked at twice"
    assert sorted(bench.store.root.rglob("*.dcm")) == before, "nothing was made that could be sent"
    text = kept.file.read_text()
    study = bench.show()
    assert bench.study.study_uid not in text and str(study.get("patient", "no patient")) not in text
    keys = {key for line in text.splitlines() for key in json.loads(line)}
    assert not {key for key in keys if "patient" in key or "uid" in key}


def test_a_real_study_that_comes_has_the_right_of_way(bench: Bench, quick: None) -> None:  # noqa: F811
    revision = finished(bench)
    with pytest.raises(Interrupted):
        shadow_study(bench.context, revision, wanted=lambda: False)
    with bench.store.session() as session:
        session.get_one(Revision, revision).state = "PLANNED"
    shadow = watching(bench)
    assert not shadow.look()
    assert ledger_of(bench.context.config).rows() == []


def test_a_study_that_cannot_be_shadowed_is_noted_and_stops_nothing(bench: Bench, quick: None) -> None:  # noqa: F811
    finished(bench)

    def broken(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("a defect")

    shadow = watching(bench, synthesize=broken)
    assert shadow.look()
    assert ledger_of(bench.context.config).rows() == []
    assert not shadow.look()


def test_shadow_mode_is_off_unless_it_is_asked_for(bench: Bench) -> None:  # noqa: F811
    finished(bench)
    off = watching(bench, every=0)
    off.start()
    assert not off.look()
    assert Config().shadow.every == 0


def test_the_command_shows_the_table_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDK2N__NODE__STORAGE", str(tmp_path / "storage"))
    assert main(["models", "drift"]) == 0
    assert "off: [shadow] every = 0" in capsys.readouterr().out
    from medk2n_node.config import load_config

    config = load_config(None, {"MEDK2N__NODE__STORAGE": str(tmp_path / "storage")})
    ledger = ledger_of(config)
    for one in rows([*usual(20), *[v - 2 for v in usual(15, 2) if v is not None]]):
        ledger.add([one], Tried(at=one.at, revision=one.revision, words=""))
    assert main(["models", "drift", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rows"] == 35
    assert document["drift"][0]["verdict"] == "worse" and document["drift"][0]["scanner"] == "Maker X"
