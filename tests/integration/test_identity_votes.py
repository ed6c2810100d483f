"""The judge of identity in the demonstration bundle, asked about real series of patients that it has never seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import load_bundle
from model.identity import vote
from training.archive import read_nifti
from training.demonstration import VALIDATION


@pytest.mark.parametrize("case", ["ms_openms26", "gli_tcga_fg6692_raw"])
def test_real_series_of_unseen_patients_are_what_they_look_like(shared_data: Path, case: str) -> None:
    identity = load_bundle().identity
    assert identity is not None and case in VALIDATION
    said = {}
    for contrast in ("T1", "T1C", "T2", "FLAIR"):
        p = vote(read_nifti(shared_data / "nifti" / case / f"{contrast}.nii.gz"), identity)
        said[contrast] = max(p, key=lambda name: p[name])
    assert said["T2"] == "T2" and said["FLAIR"] == "FLAIR" and said["T1"] == "T1"
    assert said["T1C"] in ("T1", "T1C"), "they look the same where nothing enhances"
