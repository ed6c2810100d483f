"""Real scans with truth, as a DICOM study through the whole node: the FLAIR that comes back beside the FLAIR that was
scanned. The figures are printed (`pytest -s`); where `MEDK2N_KEEP` names a folder, pictures and objects are kept there.

`ms_oml12s1` was among the training patients, so its figure is optimistic; `gli_tcga_fg6692` was not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.uid import MRImageStorage

from dicom_rules.geometry import to_volume
from medk2n_node.demo.study import from_nifti, write_study
from model import Image
from model.imaging import brain_mask, register, resample
from training.archive import read_nifti
from training.evaluate import score, score_after_fit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def _through_the_node(case: Path, contrasts: dict[str, str], out: Path) -> dict[str, object]:
    """Wrap the scans (contrast -> frame of reference) as a study, run the demonstration, give its summary."""
    series = [from_nifti(case / f"{name}.nii.gz", name, frame=frame) for name, frame in contrasts.items()]
    study = write_study(out / "study", *series, key=case.name)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "medk2n_node",
            "demo",
            "--json",
            "--study",
            str(study.folder),
            "--out",
            str(out / "demo"),
        ],
        capture_output=True,
        text=True,
        timeout=1400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


def _returned(out: Path) -> Image:
    """The synthetic series that the PACS of the demonstration keeps."""
    held = [dcmread(path) for path in sorted((out / "demo" / "pacs").rglob("*")) if path.is_file()]
    objects = [one for one in held if one.SOPClassUID == MRImageStorage]
    assert objects and all(one.SyntheticData == "YES" for one in objects)
    volume = to_volume(objects)
    return Image(array=volume.array, affine=volume.affine)


def _truth_beside(returned: Image, truth: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The scanned FLAIR, registered to the returned one and divided by its p99.5 in the brain; the brain."""
    brain = brain_mask(truth, subject="scanned FLAIR")
    own = brain_mask(returned, subject="returned FLAIR")
    # The reference space of `register` is the truth's.
    there = register(returned, truth, brain.mask, moving_mask=own.mask)
    assert there.accepted, there.sentence
    back = there.transform.GetInverse()
    near = resample(truth, returned, back)
    mask = resample(truth.with_array(brain.mask.astype(np.float32)), returned, back, order=0).array > 0.5
    return (near.array / np.percentile(near.array[mask], 99.5)).astype(np.float32), mask


@pytest.mark.parametrize(
    ("name", "frames", "at_least_db"),
    [
        ("ms_oml12s1_raw", {"T1": "1", "T2": "1"}, 16.0),
        ("gli_tcga_fg6692_raw", {"T1": "1", "T2": "2"}, 15.0),
    ],
)
def test_the_returned_flair_resembles_the_scanned_one(
    shared_data: Path, tmp_path: Path, name: str, frames: dict[str, str], at_least_db: float
) -> None:
    out = Path(os.environ["MEDK2N_KEEP"]) / name if "MEDK2N_KEEP" in os.environ else tmp_path
    out.mkdir(parents=True, exist_ok=True)
    case = shared_data / "nifti" / name
    summary = _through_the_node(case, frames, out)
    assert summary["state"] == "DELIVERED", summary["words"]
    returned = _returned(out)
    truth, mask = _truth_beside(returned, read_nifti(case / "FLAIR.nii.gz"))
    prediction = (returned.array / 1000).astype(np.float32)
    plain, fitted = score(prediction, truth, mask), score_after_fit(prediction, truth, mask)
    constant = score(np.full_like(truth, truth[mask].mean()), truth, mask)
    figures = f"{name}: PSNR {plain:.2f} dB, after a linear fit {fitted:.2f} dB, constant {constant:.2f} dB"
    sys.stdout.write(figures + "\n")
    assert plain > at_least_db
    assert fitted > constant
    # Registered or refused, never silently wrong: a misplaced image would lose its correlation with the truth.
    assert np.corrcoef(prediction[mask], truth[mask])[0, 1] > 0.4
