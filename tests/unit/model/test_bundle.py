"""A bundle opens whole or not at all, and says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import BundleError, load_bundle, verify_bundle
from model.bundle.files import default_folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_folder(), tmp_path / "bundle"))


def test_the_demonstration_weights_open_and_say_what_they_are() -> None:
    bundle = load_bundle()
    assert bundle.contrasts == ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC")
    assert len(bundle.digest) == 64
    assert bundle.manifest["intended_use"] == "research"
    assert all(torch.isfinite(p).all() for p in bundle.network.parameters())
    assert (default_folder() / "weights.safetensors").stat().st_size < 25e6


def test_the_card_names_use_data_and_failures() -> None:
    card = (default_folder() / "card.md").read_text()
    for words in ("Not for clinical use", "non-commercial", "Known failures", "Not trained on"):
        assert words in card


def test_no_validation_patient_was_trained_on() -> None:
    from training.demonstration import VALIDATION

    assert not set(load_bundle().manifest["training"]["cases"]) & set(VALIDATION)


def test_one_flipped_byte_is_refused(copy: Path) -> None:
    data = bytearray((copy / "weights.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "weights.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match="changed or cut short") as caught:
        load_bundle(copy)
    assert caught.value.code == "digest"


def test_truncated_weights_are_refused(copy: Path) -> None:
    data = (copy / "weights.safetensors").read_bytes()
    (copy / "weights.safetensors").write_bytes(data[:-100])
    with pytest.raises(BundleError) as caught:
        verify_bundle(copy)
    assert caught.value.code == "digest"


def test_a_missing_tensor_is_named(copy: Path) -> None:
    import hashlib

    tensors = load_file(copy / "weights.safetensors")
    del tensors["preweight.memory"]
    save_file(tensors, copy / "weights.safetensors")
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["sha256"] = hashlib.sha256((copy / "weights.safetensors").read_bytes()).hexdigest()
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"missing: preweight\.memory"):
        load_bundle(copy)


def test_a_folder_without_a_card_is_refused(copy: Path) -> None:
    (copy / "card.md").unlink()
    with pytest.raises(BundleError, match=r"card\.md is not there"):
        load_bundle(copy)
