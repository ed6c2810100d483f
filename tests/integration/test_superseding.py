"""The whole node when the truth comes late: a synthetic FLAIR is delivered, then the real one is sent."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.integration import phantom
from tests.integration.node import Destination, node
from tests.integration.receiver import Receiver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_a_real_flair_that_comes_later_brings_a_report_with_the_error_of_the_synthetic_one(
    study: phantom.Study, tmp_path: Path
) -> None:
    uid, sent = phantom.under_new_uids(study, "superseded")
    settings = "[results]\noverlay = true\nsummary = true\nreject_superseded = true\n"
    with Receiver() as pacs:
        destination = Destination(name="pacs", ae_title="PACS", port=pacs.port)
        with node(tmp_path, [destination], settings=settings) as running:
            running.send_datasets(sent["T1"] + sent["T2"])
            running.wait(uid, "DELIVERED")
            synthetic = pacs.images(uid)
            assert len(synthetic) == phantom.SLICES
            assert sorted(str(one.Modality) for one in pacs.received if one not in synthetic) == [
                "MR", "OT", "PR", "SR",
            ]  # fmt: skip
            running.send_datasets(sent["FLAIR"])
            document = running.wait(uid, "COMPLETE", revision=2)
            _wait_for(pacs, "KO")
            printed = running.command("studies", "show", uid).stdout
    (score,) = document["superseded"]
    assert 5 < score["psnr_db"] < 40 and 0 < score["error"] < 0.5 and score["voxels"] > 10_000
    _, second = pacs.reports(uid)
    told = [str(item.TextValue) for item in second.ContentSequence[-1].ContentSequence]
    error = (
        f"PSNR {score['psnr_db']:.2f} dB, mean absolute error {score['error']:.4f} of the 99.5th percentile"
    )
    (sentence,) = [one for one in told if "is superseded" in one]
    assert error in sentence
    assert (
        str(synthetic[0].SeriesInstanceUID) in sentence
        and str(sent["FLAIR"][0].SeriesInstanceUID) in sentence
    )
    (note,) = [one for one in pacs.received if one.Modality == "KO"]
    assert {str(one.SOPInstanceUID) for one in synthetic} <= _named(note)
    assert f"against the real FLAIR that came later: PSNR {score['psnr_db']:.2f} dB" in printed


def _wait_for(pacs: Receiver, modality: str) -> None:
    deadline = time.monotonic() + 60
    while not any(one.Modality == modality for one in list(pacs.received)):
        assert time.monotonic() < deadline, f"no {modality} came"
        time.sleep(0.2)


def _named(note: Dataset) -> set[str]:
    return {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in note.ContentSequence
        if item.ValueType == "IMAGE"
    }
