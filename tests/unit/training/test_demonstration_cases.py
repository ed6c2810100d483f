"""The demonstration's cases: prepared once, each with its patient and site, nobody on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from training.demonstration import VALIDATION
from training.demonstration_cases import LEFT_OUT, prepare_cases, read_cases


def _slices(path: Path, *names: str) -> None:
    """Two axial slices of a bright disc with a darker middle, in a head somewhat larger."""
    y, x = np.mgrid[-64:64, -64:64]
    radius = np.hypot(y, x)
    disc = np.where(radius < 50, 400.0 + x + 2 * y, 0.0) * np.where(radius < 15, 0.7, 1.0)
    arrays = {name: np.stack([disc, disc + 3 * k]).astype(np.float32) for k, name in enumerate(names)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, mask=np.stack([radius < 55] * 2), **arrays)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A patient to learn from and one kept apart among the slices; a volume that is left out, and cannot be read."""
    data = tmp_path / "data"
    _slices(data / "lgg2d" / "TCGA_CS_4942.npz", "t1", "flair")
    _slices(data / "lgg2d" / f"{next(n for n in VALIDATION if n.startswith('TCGA'))}.npz", "t1", "flair")
    _slices(data / "hgg2d" / "brats13_HG0001.npz", "t1", "t2", "flair")
    broken = data / "nifti" / LEFT_OUT[0]
    broken.mkdir(parents=True)
    (broken / "T1.nii.gz").write_bytes(b"no image")
    return data


def test_everyone_is_prepared_once_and_stands_on_one_side(data: Path, tmp_path: Path) -> None:
    cache, told = tmp_path / "cache", []
    prepare_cases(data, cache, lambda name, number, of: told.append((name, number, of)))
    assert [(number, of) for _, number, of in told] == [(0, 3), (1, 3), (2, 3)]
    found = read_cases(cache)
    assert {case.name for case in found.apart} <= set(VALIDATION) and len(found.apart) == 1
    assert {(case.name, case.patient, case.site) for case in found.learned} == {
        ("TCGA_CS_4942", "TCGA_CS_4942", "tcga"), ("brats13_HG0001", "brats13_HG0001", "brats2013"),
    }  # fmt: skip
    skull, stripped = sorted(found.learned, key=lambda case: case.stripped)
    assert (skull.spacing[2], stripped.spacing[2]) == (5.0, 1.0)
    assert set(stripped.contrasts) == {"T1", "T2", "FLAIR"}

    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    prepare_cases(data, cache, lambda name, number, of: None)
    assert before == {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}


def test_a_patient_who_came_twice_counts_once(data: Path, tmp_path: Path) -> None:
    head = np.zeros((12, 40, 40), np.float32)
    z, y, x = np.mgrid[-6:6, -20:20, -20:20]
    head[(z / 6) ** 2 + (y / 18) ** 2 + (x / 16) ** 2 < 1] = 300.0
    head += np.random.default_rng(1).normal(0, 4, head.shape).astype(np.float32) * (head > 0)
    for name in ("gli_tcga_fg6692", "gli_tcga_fg6692_raw"):
        folder = data / "nifti" / name
        folder.mkdir()
        for contrast, factor in (("T1", 1.0), ("T2", 0.6)):
            image = sitk.GetImageFromArray(head * factor)
            image.SetSpacing((4.0, 4.0, 8.0))
            sitk.WriteImage(image, str(folder / f"{contrast}.nii.gz"))
    prepare_cases(data, tmp_path / "cache", lambda name, number, of: None)
    apart = read_cases(tmp_path / "cache").apart
    assert [case.patient for case in apart if "fg6692" in case.name] == ["gli_tcga_fg6692"] * 2


def test_a_folder_without_volumes_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nifti"):
        prepare_cases(tmp_path, tmp_path / "cache", lambda name, number, of: None)
