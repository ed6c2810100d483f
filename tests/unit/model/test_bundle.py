"""A bundle opens whole or not at all, and says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import Bundle, BundleError, load_bundle, save_bundle, verify_bundle
from model.bundle import default_folder, stated_digest
from model.bundle.seal import CARD, IDENTITY, MANIFEST, OPTIONAL, SEAL, WEIGHTS, write_sealed

FILES = (WEIGHTS, MANIFEST, CARD, SEAL)


@pytest.fixture(scope="module")
def demo() -> Bundle:
    return load_bundle()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_folder(), tmp_path / "bundle"))


def reseal(folder: Path) -> None:
    """Seal what lies in the folder, as somebody would who wants to be believed."""
    names = [one for one in (WEIGHTS, MANIFEST, CARD, *OPTIONAL) if (folder / one).is_file()]
    write_sealed(folder, {name: (folder / name).read_bytes() for name in names})


def facts_of(bundle: Bundle) -> dict[str, Any]:
    return {k: v for k, v in bundle.manifest.items() if k not in ("schema", "sha256", "network")}


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and seal the bundle again."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    reseal(folder)


def test_the_demonstration_weights_open_and_say_what_they_are(demo: Bundle) -> None:
    assert demo.contrasts == ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC")
    assert demo.sites["unknown"] == 0
    assert len(demo.digest) == 64
    assert demo.manifest["intended_use"] == "research"
    assert len(demo.manifest["training"]["fingerprint"]) == 64
    assert all(torch.isfinite(p).all() for p in demo.network.parameters())
    assert (default_folder() / WEIGHTS).stat().st_size < 25e6


def test_the_card_names_use_data_and_failures(demo: Bundle) -> None:
    for words in ("Not for clinical use", "non-commercial", "Known failures", "Not trained on"):
        assert words in demo.card


def test_no_validation_patient_was_trained_on(demo: Bundle) -> None:
    from training.demonstration import VALIDATION

    assert not set(demo.manifest["training"]["cases"]) & set(VALIDATION)


def test_the_tables_that_a_person_reads_are_those_of_the_weights(demo: Bundle) -> None:
    i, j = demo.contrasts.index("T1"), demo.contrasts.index("T2")
    assert demo.manifest["key_score"]["T1"]["T2"] == pytest.approx(
        float(demo.network.key_score[i, j]), abs=1e-4
    )
    assert demo.manifest["history"]["T1"]["T2"] == pytest.approx(
        demo.network.history[i, j].tolist(), abs=1e-4
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.37, 1.0])
def test_one_flipped_byte_in_any_file_is_refused_and_the_file_named(
    copy: Path, name: str, place: float
) -> None:
    data = bytearray((copy / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (copy / name).write_bytes(data)
    for opened in (verify_bundle, load_bundle):
        with pytest.raises(BundleError, match="changed or cut short") as caught:
            opened(copy)
        assert caught.value.code == "digest"
        assert SEAL in str(caught.value) if name == SEAL else caught.value.subject.endswith(name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_refused(copy: Path, name: str, kept: float) -> None:
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: int(kept * len(data))])
    with pytest.raises(BundleError, match="changed or cut short") as caught:
        verify_bundle(copy)
    assert caught.value.code == "digest"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_there_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is not there") as caught:
        load_bundle(copy)
    assert caught.value.code == "missing"


def test_a_file_that_the_seal_does_not_name_is_refused(copy: Path) -> None:
    seal = (copy / SEAL).read_text().splitlines()
    (copy / SEAL).write_text("".join(line + "\n" for line in seal if not line.endswith(IDENTITY)))
    with pytest.raises(BundleError, match="does not name it"):
        load_bundle(copy)


def test_missing_unknown_and_misshapen_tensors_are_named(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    del tensors["preweight.memory"]
    tensors["stranger"] = torch.ones(3)
    tensors["source_embed.weight"] = torch.ones(2, 2)
    save_file(tensors, copy / WEIGHTS)
    reseal(copy)
    with pytest.raises(BundleError) as caught:
        load_bundle(copy)
    assert caught.value.code == "keys"
    assert caught.value.reason == (
        "missing: preweight.memory; unknown: stranger; other shape: source_embed.weight"
    )


def test_weights_that_are_no_safetensors_are_refused_in_words(copy: Path) -> None:
    (copy / WEIGHTS).write_bytes(b"not tensors at all")
    reseal(copy)
    with pytest.raises(BundleError, match="no tensors that can be read"):
        load_bundle(copy)


def test_missing_and_impossible_facts_are_named(copy: Path) -> None:
    def spoil(manifest: dict[str, Any]) -> None:
        del manifest["metrics"]
        manifest["combine"] = "vote"
        manifest["interval_factor"] = -1

    rewrite(copy, spoil)
    with pytest.raises(BundleError, match="missing: metrics") as caught:
        verify_bundle(copy)
    assert caught.value.code == "schema"
    assert 'combine must be "mean" or "choose"' in caught.value.reason
    assert "interval_factor must be a positive number, or null: uncalibrated" in caught.value.reason


def test_weights_that_learned_on_other_images_are_refused(copy: Path) -> None:
    rewrite(copy, lambda manifest: manifest["preprocessing"].update(percentile=95.0))
    with pytest.raises(BundleError, match=r"percentile is 95\.0, this version computes with 99\.5"):
        verify_bundle(copy)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"encoder": "huge"}, "there is no encoder 'huge'"),
        ({"colour": 1}, "unexpected keyword argument 'colour'"),
    ],
)
def test_an_architecture_that_this_version_does_not_know_is_refused(
    copy: Path, network: dict[str, Any], words: str
) -> None:
    rewrite(copy, lambda manifest: manifest["network"].update(network))
    with pytest.raises(BundleError, match=words):
        load_bundle(copy)


def test_a_table_of_other_weights_is_refused(copy: Path) -> None:
    rewrite(copy, lambda manifest: manifest["key_score"]["T1"].update(T2=99.0))
    with pytest.raises(BundleError, match="its table key_score is not the one in the weights"):
        load_bundle(copy)


def test_a_bundle_of_an_older_schema_is_refused(copy: Path) -> None:
    rewrite(copy, lambda manifest: manifest.update(schema=1))
    with pytest.raises(BundleError, match="its schema is 1, this version reads 4"):
        load_bundle(copy)


def test_what_is_saved_is_what_is_opened_and_another_card_is_another_digest(
    demo: Bundle, tmp_path: Path
) -> None:
    first = save_bundle(tmp_path / "first", demo.network, facts_of(demo), demo.card)
    second = save_bundle(tmp_path / "second", demo.network, facts_of(demo), demo.card + "\n")
    opened = load_bundle(tmp_path / "first")
    assert opened.digest == first == stated_digest(tmp_path / "first") != second
    assert opened.manifest == demo.manifest
    for name, tensor in demo.network.state_dict().items():
        assert torch.equal(opened.network.state_dict()[name], tensor), name


def test_the_judge_of_identity_is_sealed_with_the_rest(demo: Bundle, tmp_path: Path) -> None:
    judge = tmp_path / "judge"
    judge.mkdir()
    for name in OPTIONAL:
        (judge / name).write_bytes(b"as it was trained")
    save_bundle(tmp_path, demo.network, facts_of(demo), demo.card, judge)
    verify_bundle(tmp_path)
    for name in OPTIONAL:
        (tmp_path / name).write_bytes(b"as it was traimed")
        with pytest.raises(BundleError, match="changed or cut short") as caught:
            verify_bundle(tmp_path)
        assert caught.value.subject.endswith(name)
        (tmp_path / name).write_bytes(b"as it was trained")


def test_a_bundle_without_all_facts_is_not_written(demo: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="missing: name, version"):
        save_bundle(tmp_path / "new", demo.network, {}, "card")
    assert not (tmp_path / "new").exists()
