"""The whole node on the computed head: a study goes in over DICOM, a synthetic FLAIR comes back, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from medk2n_node.demo.validator import complaints, find_validator
from tests.integration import phantom
from tests.integration.node import node
from tests.integration.ward import Ward

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

OBJECTS = phantom.SLICES + 2
"""What one synthetic series brings along by default: its slices, a map of its uncertainty, a report."""


def two_series(study: phantom.Study, name: str) -> tuple[str, phantom.Study]:
    return phantom.under_new_uids({contrast: study[contrast] for contrast in ("T1", "T2")}, name)


@pytest.fixture(scope="module")
def delivered(ward: Ward, study: phantom.Study) -> tuple[str, phantom.Study]:
    """The phantom's T1 and T2, sent, and its FLAIR delivered to both destinations."""
    uid, sent = two_series(study, "whole")
    ward.node.send_datasets(phantom.flat(sent))
    ward.node.wait(uid, "DELIVERING")
    waiting = _until(lambda: _delivery(ward.node.show(uid), "pacs")["done"] == OBJECTS)
    assert waiting, "the archive that is off delayed the PACS that is on"
    assert _until(lambda: _delivery(ward.node.show(uid), "archive")["attempts"] >= 1), (
        "nobody tried the archive"
    )
    off = _delivery(ward.node.show(uid), "archive")
    assert (off["done"], off["dead"]) == (0, 0)
    with ward.archive() as archive:
        ward.node.wait(uid, "DELIVERED", seconds=60)
        # Reports of other studies may wait for the archive as well.
        assert len([one for one in archive.received if one.StudyInstanceUID == uid]) == OBJECTS
    return uid, sent


def _delivery(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["deliveries"] if one["destination"] == name)
    return found


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.5)
    return False


def test_one_readable_line_says_that_the_node_is_ready(ward: Ward) -> None:
    assert ward.node.ready.startswith(
        f"medk2n ready: MEDK2N listens on 127.0.0.1:{ward.node.port}; worker-0 works;"
    )
    assert "pacs (PACS 127.0.0.1:" in ward.node.ready


def test_a_switched_off_destination_delays_no_other_and_gets_everything_later(
    ward: Ward, delivered: tuple[str, phantom.Study]
) -> None:
    document = ward.node.show(delivered[0])
    off = _delivery(document, "archive")
    assert off["attempts"] >= 2
    assert (off["done"], off["last_status"]) == (OBJECTS, "0000")
    assert (_delivery(document, "pacs")["attempts"], document["state"]) == (1, "DELIVERED")


def test_the_pacs_holds_one_synthetic_flair_on_the_grid_of_its_reference(
    ward: Ward, delivered: tuple[str, phantom.Study], tmp_path: Path
) -> None:
    uid, sent = delivered
    made = ward.pacs.images(uid)
    document = ward.node.show(uid)
    reference = sent[document["plan"]["reference"]]
    assert len({one.SOPInstanceUID for one in made}) == len(made) == phantom.SLICES
    assert {one.SeriesDescription for one in made} == {"SYNTHETIC FLAIR (AI) - not acquired"}
    assert {one.SyntheticData for one in made} == {"YES"}
    assert {one.FrameOfReferenceUID for one in made} == {reference[0].FrameOfReferenceUID}
    assert sorted(map(_place, made)) == sorted(map(_place, reference))
    pixels = made[phantom.SLICES // 2].pixel_array
    assert pixels.max() > pixels.mean() > 0
    validator = find_validator()
    if validator is not None:
        files = []
        for number, one in enumerate(made):
            one.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
            files.append(tmp_path / f"{number}.dcm")
        assert complaints(validator, files) == []


def _place(one: Dataset) -> tuple[str, ...]:
    return tuple(map(str, [*one.ImagePositionPatient, *one.ImageOrientationPatient, *one.PixelSpacing]))


def test_the_report_tells_plan_history_results_and_seconds(
    ward: Ward, delivered: tuple[str, phantom.Study]
) -> None:
    document = ward.node.show(delivered[0])
    assert [one["to"] for one in document["history"]] == [
        "RECEIVING", "SETTLED", "PLANNED", "SYNTHESIZING", "ENCODED", "DELIVERING", "DELIVERED",
    ]  # fmt: skip
    assert all(one["at"] for one in document["history"])
    assert [(one["kind"], one["contrast"], one["instances"]) for one in document["results"]] == [
        ("series", "FLAIR", phantom.SLICES),
        ("uncertainty", "FLAIR", 1),
        ("report", None, 1),
    ]
    assert {"read", "register", "mask", "network", "encode", "write", "deliver"} <= set(
        document["report"]["seconds"]
    )
    assert all(one["reasons"] for one in document["plan"]["targets"] + document["plan"]["series"])


def test_sending_the_same_study_again_adds_nothing(ward: Ward, delivered: tuple[str, phantom.Study]) -> None:
    uid, sent = delivered
    before, offered = ward.node.show(uid), len(ward.pacs.offered)
    ward.node.send_datasets(phantom.flat(sent))
    _rest(ward)
    assert ward.node.show(uid) == before
    assert len(ward.pacs.offered) == offered


def test_our_own_series_coming_back_opens_no_work(ward: Ward, delivered: tuple[str, phantom.Study]) -> None:
    uid, _ = delivered
    offered = len(ward.pacs.offered)
    ward.node.send_datasets(
        [one for one in ward.pacs.received if one.StudyInstanceUID == uid], calling_ae="PACS"
    )
    _rest(ward)
    document = ward.node.show(uid)
    assert (document["state"], document["revision"]) == ("DELIVERED", 1)
    assert list(document["evidence"]["returned"].values()) == [OBJECTS]
    assert len(ward.pacs.offered) == offered


def test_a_study_of_nothing_but_synthetic_objects_is_not_synthesised_from(
    ward: Ward, delivered: tuple[str, phantom.Study]
) -> None:
    ours = ward.pacs.images(delivered[0])
    uid, copied = phantom.under_new_uids({"FLAIR": ours}, "synthetic")
    ward.node.send_datasets(copied["FLAIR"])
    document = ward.node.wait(uid, "REFUSED", "COMPLETE")
    sentences = [reason for one in document["plan"]["series"] for reason in one["reasons"]]
    assert any("artificially" in sentence for sentence in sentences), sentences


def test_a_late_object_that_is_no_source_leaves_the_delivered_result_as_it_is(
    ward: Ward, delivered: tuple[str, phantom.Study]
) -> None:
    uid, sent = delivered
    offered = len(ward.pacs.offered)
    late = phantom.under_new_uids({"T1": sent["T1"][:1]}, "late")[1]["T1"][0]
    late.StudyInstanceUID = uid
    late.SeriesDescription = late.ProtocolName = "localizer"
    late.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ward.node.send_datasets([late])
    document = ward.node.wait(uid, "COMPLETE", revision=2)
    assert document["code"] == "unchanged"
    assert document["words"] == "what arrived changes no source: the results of revision 1 stand"
    assert _until(lambda: len(ward.pacs.reports(uid)) == 2), "a second report says so"
    second = ward.pacs.reports(uid)[1]
    # Perhaps twice: an object whose answer is lost on the way is offered again.
    assert set(ward.pacs.offered[offered:]) == {second.SOPInstanceUID}, "nothing else was sent"
    predecessor = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert predecessor.ReferencedSOPInstanceUID == ward.pacs.reports(uid)[0].SOPInstanceUID


def test_a_study_that_lacks_nothing_is_complete(ward: Ward, study: phantom.Study) -> None:
    uid, sent = phantom.under_new_uids(study, "complete")
    ward.node.send_datasets(phantom.flat(sent))
    document = ward.node.wait(uid)
    assert document["state"] == "COMPLETE"
    assert document["words"]
    assert [one["kind"] for one in document["results"]] == ["report"]
    assert _until(lambda: len(ward.pacs.reports(uid)) == 1)
    assert ward.pacs.images(uid) == []


def test_sigterm_ends_all_processes_in_order(tmp_path: Path) -> None:
    with node(tmp_path) as running:
        worker = running.worker_pid()
        assert running.stop() == 0
    assert not Path(f"/proc/{worker}").exists()


def _rest(ward: Ward) -> None:
    """Give the node more than a quiet period to do something it should not."""
    time.sleep(6.0)
    assert ward.node.process.poll() is None
