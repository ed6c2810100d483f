"""A broken promise of a returned series is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_rules.derive import to_part10
from medk2n_node.demo.verify import Returned, returned
from tests.unit.derive.cases import make_case


@pytest.fixture
def came_back(tmp_path: Path) -> Callable[[Callable[[Dataset], None]], Returned]:
    """What the check says when `spoil` was done to every object on the way."""

    def build(spoil: Callable[[Dataset], None]) -> Returned:
        case = make_case()
        made = case.encode()
        place = tmp_path / made[0].SeriesInstanceUID
        place.mkdir()
        for one in made:
            spoil(one)
            (place / f"{one.SOPInstanceUID}.dcm").write_bytes(to_part10(one))
        sources = {series[0].SeriesInstanceUID: list(series) for series in case.sources.values()}
        (found,) = returned(tmp_path, {place.name: "FLAIR"}, sources)
        return found

    return build


def broken(found: Returned) -> set[str]:
    return {check.promise for check in found.checks if check.kept is False}


def test_an_honest_series_keeps_every_promise(came_back: Callable[..., Returned]) -> None:
    found = came_back(lambda one: None)
    assert found.good and broken(found) == set()
    assert found.contrast == "FLAIR" and len(found.objects) == 6
    assert [int(one.InstanceNumber) for one in found.objects] == [1, 2, 3, 4, 5, 6]
    assert found.tags["SyntheticData"] == "YES"
    assert found.tags["ImageType"] == "DERIVED\\SECONDARY\\OTHER\\SYNTHETIC"
    assert any("dciodvfy" in check.promise and check.kept for check in found.checks)


def test_a_series_that_hides_what_it_is_is_caught(came_back: Callable[..., Returned]) -> None:
    assert "every object says that it is synthetic" in broken(came_back(lambda one: one.pop("SyntheticData")))


def test_another_grid_or_frame_is_caught(came_back: Callable[..., Returned]) -> None:
    def spoil(one: Dataset) -> None:
        one.PixelSpacing = ["1.001", "1"]
        one.FrameOfReferenceUID = "1.2.3"

    found = broken(came_back(spoil))
    assert "the same grid as its reference, string by string" in found
    assert "the same frame of reference" in found


def test_an_invalid_object_is_caught(came_back: Callable[..., Returned]) -> None:
    def spoil(one: Dataset) -> None:
        del one.ScanningSequence

    assert "valid DICOM (dciodvfy)" in broken(came_back(spoil))
