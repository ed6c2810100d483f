"""Lesions that a site drew as DICOM segmentations reach the case, on the image that they were drawn on."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.segmentation import ABNORMAL, ANATOMY, BRAIN, NEOPLASM, draw
from tests.unit.training.small_archive import SHAPE, small_archive
from tests.unit.training.test_archive_prepare import prepared
from training.archive import Inventory, Place, scan

pytestmark = pytest.mark.usefixtures("quick_preprocessing")


def ball(*centre: int, radius: float = 4.0) -> npt.NDArray[np.bool_]:
    distance = [(axis - middle) for axis, middle in zip(np.indices(SHAPE), centre, strict=True)]
    return np.asarray((2 * distance[0]) ** 2 + distance[1] ** 2 + distance[2] ** 2 < radius**2)


def folder_of(archive: Path, number: int, contrast: str) -> Path:
    [found] = (archive / f"{number:03d}").glob(f"*-{contrast}")
    return found


def masks_of(inventory: Inventory) -> list[tuple[str, bool, str | None]]:
    return sorted((row.part, row.usable, row.because) for row in inventory.rows if row.part != "image")


def test_a_lesion_drawn_on_one_series_lies_where_it_was_drawn(tmp_path: Path) -> None:
    source = small_archive(tmp_path / "in", {1: ("T1", "T2", "FLAIR")})
    lesion = ball(5, 24, 18)
    draw(folder_of(source, 1, "FLAIR"), source / "001" / "seg", [lesion])
    [case] = prepared(source, tmp_path / "out").cases("training")
    assert case.lesion.sum() == lesion.sum() > 50 and case.brain[case.lesion].all()
    where = [float(axis.mean()) for axis in np.nonzero(np.asarray(case.lesion))]
    assert where[1:] == pytest.approx([float(axis.mean()) for axis in np.nonzero(lesion)][1:], abs=0.6)


def test_only_segments_that_mark_a_lesion_count_by_code_or_by_word(tmp_path: Path) -> None:
    source = small_archive(tmp_path / "in", {1: ("T1", "T2")})
    tumour, brain, oedema = ball(5, 24, 18), ball(5, 10, 18), ball(5, 34, 22, radius=3)
    kinds = [(ABNORMAL, NEOPLASM, "a"), (ANATOMY, BRAIN, "b"), (ANATOMY, BRAIN, "Peritumoral edema")]
    draw(folder_of(source, 1, "T2"), source / "001" / "seg", [tumour, brain, oedema], kinds)
    [case] = prepared(source, tmp_path / "out").cases("training")
    assert case.lesion.sum() == tumour.sum() + oedema.sum()


def test_the_last_of_several_counts_and_the_others_say_why_not(tmp_path: Path) -> None:
    source = small_archive(tmp_path / "in", {1: ("T1", "T2")})
    first, second = ball(5, 24, 18), ball(5, 20, 22, radius=3)
    for mask, day in ((second, "20260302"), (first, "20260301")):
        draw(folder_of(source, 1, "T1"), source / "001" / "seg", [mask], drawn=day)
    draw(folder_of(source, 1, "T1"), source / "001" / "seg", [first], [(ANATOMY, BRAIN, "brain")])
    inventory = scan([Place(folder=source)], salt=b"0" * 32)
    assert masks_of(inventory) == [
        ("lesion", False, "older"), ("lesion", True, None), ("mask", False, "no_lesion"),
    ]  # fmt: skip
    [case] = prepared(source, tmp_path / "out").cases("training")
    assert case.lesion.sum() == second.sum()


def test_a_lesion_on_a_series_that_is_not_used_is_listed_and_the_case_is_made_without(tmp_path: Path) -> None:
    source = small_archive(tmp_path / "in", {1: ("T1", "T2")})
    other = small_archive(tmp_path / "other", {1: ("FLAIR",)})
    draw(folder_of(other, 1, "FLAIR"), source / "001" / "seg", [ball(5, 24, 18)])
    segmentation: Dataset = dcmread(next((source / "001" / "seg").glob("*.dcm")))
    segmentation.StudyInstanceUID = dcmread(next(folder_of(source, 1, "T1").glob("*.dcm"))).StudyInstanceUID
    segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID = highdicom.UID()
    segmentation.save_as(next((source / "001" / "seg").glob("*.dcm")))
    archive = prepared(source, tmp_path / "out")
    [case] = archive.cases("training")
    assert not case.lesion.any()
    [note] = (tmp_path / "out" / "excluded").glob("*-lesion.json")
    assert "drawn on a series that is not used" in note.read_text()
