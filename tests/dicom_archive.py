"""Archives as a hospital has them: DICOM studies of several patients, made of volumes whose contrasts are known.

`phantom_archive` needs nothing beside the repository; `dicom_archive` wraps NIfTI cases (`<case>/<CONTRAST>.nii.gz`,
the cases of the shared data among them).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_rules import CONTRASTS
from medk2n_node.demo.maps import Head, head
from medk2n_node.demo.phantom import SEQUENCES, Grid, look, motion
from medk2n_node.demo.study import ScannedSeries, from_nifti, write_study
from training.simulation import simulate

PHANTOM_CONTRASTS = ("T1", "T2", "FLAIR")


def identity(number: int) -> dict[str, str]:
    """A patient with a name, so that a test can look for it where it must not be."""
    return {
        "PatientID": f"HOSP-{number:05d}",
        "PatientName": f"Muster^Petra{number}",
        "PatientBirthDate": f"19{50 + number % 50}0101",
    }


def dicom_archive(out: Path, cases: Iterable[Path], *, patients: Mapping[str, int] | None = None) -> Path:
    """Each case (a folder of NIfTI files) as a DICOM study below `out`; gives `out`.

    `patients` numbers those cases that belong to one patient; else every case is a patient of its own. Voxels and
    affines are those of the files, so series that were never registered are not registered here either.
    """
    for number, case in enumerate(cases, start=1):
        series = [
            _series(case / f"{name}.nii.gz", name)
            for name in CONTRASTS
            if (case / f"{name}.nii.gz").is_file()
        ]
        whose = (patients or {}).get(case.name, number)
        write_study(out / f"{number:03d}", *series, key=case.name, patient=identity(whose))
    return out


def _series(path: Path, contrast: str) -> ScannedSeries:
    found = from_nifti(path, contrast)
    # A quantity keeps its unit: unsigned integers are stored as they are.
    return replace(found, array=np.rint(found.array).astype(np.uint16)) if contrast == "ADC" else found


def phantom_archive(
    out: Path,
    *,
    patients: int = 3,
    contrasts: Sequence[str] | Mapping[int, Sequence[str]] = PHANTOM_CONTRASTS,
    skull: bool = False,
    first: int = 1,
) -> Path:
    """The computed head, scanned anew for each patient: other noise, another pose, another size; gives `out`.

    Args:
        contrasts: of every patient, or by patient's number.
        skull: with it the brain is searched by the whole method; without it by its fast half.
        first: number of the first patient.
    """
    for number in range(first, first + patients):
        wanted = contrasts[number] if isinstance(contrasts, Mapping) else contrasts
        write_study(
            out / f"{number:03d}",
            *(phantom_series(contrast, number, skull=skull) for contrast in wanted),
            key=f"patient {number}",
            patient=identity(number),
        )
    return out


def phantom_series(
    contrast: str, number: int, *, skull: bool = False, header: Mapping[str, Any] | None = None
) -> ScannedSeries:
    """One series of a patient, all of them on one grid: shaded and noisy in the patient's own way, 12 bits."""
    random = np.random.default_rng([number, *contrast.encode()])
    image, brain = _seen(contrast), _brain()
    image = image / float(np.percentile(image[brain], 99.5)) * (1.0 + 0.2 * random.normal())
    shading = 1.0 + 0.1 * random.normal() * np.linspace(-1, 1, image.shape[1])[None, :, None]
    noisy = np.hypot(
        image * shading + random.normal(0, 0.012, image.shape), random.normal(0, 0.012, image.shape)
    )
    stored = np.clip(np.rint(noisy * 1100 * (1 if skull else brain)), 0, 4095).astype(np.uint16)
    affine = _GRID.affine.copy()
    affine[:3, :3] *= 1.0 + 0.01 * (number % 5)  # heads differ in size
    affine[:3, 3] += (number % 5, 0.0, number % 3)
    return ScannedSeries(contrast=contrast, array=stored, affine=affine, header=dict(header or {}))


def _grid() -> Grid:
    """Thick slices of large pixels: a head in 0.4 million voxels."""
    slices, rows, columns = 24, 152, 124
    affine = np.diag([1.26, 1.26, 6.5, 1.0])
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2, (slices - 1) / 2])
    affine[:3, 3] = np.array([0.0, 18.0, 12.0]) - affine[:3, :3] @ middle
    return Grid(affine=affine, shape=(slices, rows, columns))


_GRID = _grid()
_STILL = motion(shift_mm=(0.0, 0.0, 0.0), turn_deg=0.0)


@functools.cache
def _head() -> Head:
    return head()


@functools.cache
def _seen(contrast: str) -> npt.NDArray[np.float32]:
    return look(_head(), simulate(_head().fractions, SEQUENCES[contrast]), _GRID, _STILL, sub_slices=1)


@functools.cache
def _brain() -> npt.NDArray[np.bool_]:
    return look(_head(), _head().brain, _GRID, _STILL, sub_slices=1) > 0.5
