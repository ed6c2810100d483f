"""What comes later: a real series for one that was synthesised, or late slices of a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from pydicom import dcmread

import model
from medk2n_node.config import Config
from medk2n_node.demo.study import ScannedSeries, WrittenStudy, write_study
from medk2n_node.store import Store
from medk2n_node.store.tables import TruthScore
from medk2n_node.study import IllegalTransition, release, revisions, superseding
from medk2n_node.study.context import Context
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.study.synthesis_step import synthesize_revision
from medk2n_node.synthesis import Measured
from tests.unit.study.bench import Ward
from tests.unit.synthesis.fakes import FakeBundle, fake_synthesize

MEASURED = Measured(psnr_db=21.5, error=0.0625, voxels=9000, words="They lie on one grid.")


@dataclass
class Later:
    """A study whose T1 and T2 were received; its FLAIR and the last slices of its T2 have not come yet."""

    ward: Ward
    study: WrittenStudy
    measured: list[tuple[int, int, str, float]]

    def flair_arrives(self) -> None:
        self.ward.receive(*self.study.files["FLAIR"])


def series(contrast: str, seed: int) -> ScannedSeries:
    pixels = np.random.default_rng(seed).integers(1, 4000, (12, 40, 40)).astype(np.uint16)
    return ScannedSeries(contrast=contrast, array=pixels, affine=np.diag([5.0, 5.0, 5.0, 1.0]))


@pytest.fixture
def later(store: Store, node_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Later:
    study = write_study(tmp_path / "study", series("T1", 1), series("T2", 2), series("FLAIR", 3))
    config = Config.model_validate(
        {
            **node_config.model_dump(),
            "destinations": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}],
        }
    )
    context = Context(
        config=config,
        store=store,
        bundle=lambda: cast("model.Bundle", FakeBundle()),
        synthesize=fake_synthesize,
    )
    asked: list[tuple[int, int, str, float]] = []

    def measure(synthetic: Sequence[Path], truth: Sequence[Path], *, contrast: str, scale: float) -> Measured:
        asked.append((len(synthetic), len(truth), contrast, scale))
        return MEASURED

    monkeypatch.setattr(superseding, "measure", measure)
    ward = Ward(context, study.study_uid)
    ward.receive(*study.files["T1"], *study.files["T2"])
    return Later(ward, study, asked)


def test_a_real_series_measures_the_synthetic_one_and_a_new_report_names_it_superseded(later: Later) -> None:
    ward = later.ward
    assert ward.run() == "DELIVERED"
    synthetic = ward.results("series")[0][1]
    later.flair_arrives()
    assert ward.run() == "COMPLETE"
    assert later.measured == [(12, 12, "FLAIR", 900.0)]
    document = ward.show()
    assert [(one["contrast"], one["psnr_db"], one["error"]) for one in document["superseded"]] == [
        ("FLAIR", 21.5, 0.0625)
    ]
    real = document["plan"]["present"]["FLAIR"]
    assert (
        f"The synthetic FLAIR of revision 1 (series {synthetic.SeriesInstanceUID}) is superseded: a real FLAIR "
        f"arrived (series {real}). Measured against the real series inside the brain: PSNR 21.50 dB, mean absolute "
        "error 0.0625 of the 99.5th percentile. They lie on one grid."
    ) in ward.told(2)
    (_, first), (_, second) = ward.results("report")
    predecessor = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert predecessor.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert [one["kinds"] for one in document["deliveries"]][1]["report"]["done"] == 1
    assert ward.results("rejection") == []


def test_the_error_is_kept_once_and_not_measured_again(later: Later, tmp_path: Path) -> None:
    ward = later.ward
    ward.run()
    later.flair_arrives()
    ward.run()
    late = dcmread(later.study.files["T1"][0])
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    late.SeriesInstanceUID, late.SeriesDescription = "1.2.3", "localizer"
    late.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ward.take(late)
    assert ward.run() == "COMPLETE"
    assert len(later.measured) == 1
    with ward.store.reading() as session:
        assert session.query(TruthScore).count() == 1
    assert any("PSNR 21.50 dB" in sentence for sentence in ward.told(3))


def test_by_configuration_the_superseded_series_is_rejected_once(later: Later) -> None:
    ward = later.ward.configured(results={"reject_superseded": True})
    ward.run()
    later.flair_arrives()
    ward.run()
    ((revision, note),) = ward.results("rejection")
    assert revision == 2
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"
    named = {str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for item in note.ContentSequence
             if item.ValueType == "IMAGE"}  # fmt: skip
    assert len(named) == 13, "twelve slices and the map of their uncertainty"
    assert str(ward.results("series")[0][1].SOPInstanceUID) in named


def test_a_note_of_rejection_needs_no_report(later: Later) -> None:
    ward = later.ward.configured(results={"reject_superseded": True, "report": False})
    ward.run()
    later.flair_arrives()
    ward.run()
    assert [one["kind"] for one in ward.show()["results"] if one["revision"] == 2] == ["rejection"]


def test_a_superseding_is_reported_where_reports_on_nothing_made_are_switched_off(later: Later) -> None:
    ward = later.ward.configured(results={"report_when_nothing_made": False})
    ward.run()
    later.flair_arrives()
    ward.run()
    assert any("is superseded" in sentence for sentence in ward.told(2))


def test_by_configuration_a_person_releases_what_would_supersede(later: Later) -> None:
    ward = later.ward.configured(results={"superseding": "hold"})
    ward.run()
    later.flair_arrives()
    assert ward.run() == "HELD"
    document = ward.show()
    assert (document["code"], document["release"]) == (
        "supersedes",
        "medk2n studies release lets it go on",
    )
    assert document["words"] == (
        "the synthetic FLAIR of revision 1 is to be superseded: a real series of its contrast arrived"
    )
    assert document["superseded"][0]["psnr_db"] == 21.5, "the error is known to the person who decides"
    assert [number for number, _ in ward.results("report")] == [1], "nothing was sent yet"
    with ward.store.session() as session:
        revision = revisions.latest(session, ward.study_uid)
        assert revision is not None
        assert release(session, revision, ward.store.clock()).value == "SETTLED"
    assert ward.go_on(revision.id) == "COMPLETE"
    assert any("is superseded" in sentence for sentence in ward.told(2))


def test_nobody_can_release_what_is_not_held_or_held_for_another_reason(later: Later) -> None:
    ward = later.ward
    ward.run()
    with ward.store.session() as session:
        revision = revisions.latest(session, ward.study_uid)
        assert revision is not None
        with pytest.raises(IllegalTransition):
            release(session, revision, ward.store.clock())
    stranger = dcmread(later.study.files["FLAIR"][0])
    stranger.PatientID = "ANOTHER"
    ward.take(stranger)
    assert ward.run() == "HELD"
    with ward.store.session() as session:
        revision = revisions.latest(session, ward.study_uid)
        assert revision is not None
        with pytest.raises(ValueError, match="two_patients"):
            release(session, revision, ward.store.clock())


def test_late_slices_make_a_new_series_that_names_the_older_one(later: Later, tmp_path: Path) -> None:
    ward = Ward(later.ward.context, later.ward.study_uid)
    last = later.study.files["T1"][-1]
    ward.run()
    one_more = dcmread(last)
    one_more.SOPInstanceUID = one_more.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    one_more.ImagePositionPatient[2] = float(one_more.ImagePositionPatient[2]) + 5.0
    one_more.InstanceNumber = int(one_more.InstanceNumber) + 1
    ward.take(one_more)
    assert ward.run() == "DELIVERED"
    (_, older), (_, newer) = ward.results("series")
    assert newer.SeriesInstanceUID != older.SeriesInstanceUID
    assert newer.RelatedSeriesSequence[-1].SeriesInstanceUID == older.SeriesInstanceUID
    assert any(
        sentence.startswith(
            f"The synthetic FLAIR of revision 1 (series {older.SeriesInstanceUID}) is superseded: it was made "
            f"again from what arrived later (series {newer.SeriesInstanceUID})."
        )
        for sentence in ward.told(2)
    )
    assert later.measured == [], "there is no truth to measure against"


def test_a_result_that_nobody_ever_got_is_not_superseded(later: Later) -> None:
    ward = later.ward
    first = ward.settle()
    plan_revision(ward.context, first)
    synthesize_revision(ward.context, first)  # made, and not yet offered to anybody
    later.flair_arrives()
    assert ward.run() == "COMPLETE"
    assert later.measured == []
    assert not any("superseded" in sentence for sentence in ward.told(2))
