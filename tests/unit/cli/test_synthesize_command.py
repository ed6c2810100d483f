"""`medk2n synthesize` on NIfTI files: every source subset, every target, what each source changes, whose images."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import model.synthesis
from medk2n_node.cli import main
from medk2n_node.demo.maps import head
from medk2n_node.demo.phantom import axial_grid, motion, scan
from model import CONTRASTS, Image

SUBSETS = [s for k in range(1, len(CONTRASTS)) for s in combinations(CONTRASTS, k)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A computed head in the six contrasts, 4 slices; T1C, DWI and ADC are the others with a changed scale."""
    folder = tmp_path_factory.mktemp("head")
    grid = axial_grid(slices=4, spacing_mm=32.0)
    still = motion(shift_mm=(0.0, 0.0, 0.0), turn_deg=0.0)
    t1, t2, flair = (
        scan(head(), c, grid, still, seed=k).astype(np.float32) for k, c in enumerate(("T1", "T2", "FLAIR"))
    )
    arrays = {"T1": t1, "T1C": t1**1.1, "T2": t2, "FLAIR": flair, "DWI": flair**0.9, "ADC": t2 * 1.5}
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine  # LPS to the RAS of NIfTI
    paths = {}
    for contrast, array in arrays.items():
        paths[contrast] = folder / f"{contrast}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine), paths[contrast])
    return paths


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The brain of an image and the place of one image on another are sought once in all.

    Neither depends on what else is at hand or on what is to be made, so that the walk need not seek them 62 times.
    """
    for name in ("brain_mask", "register"):
        monkeypatch.setattr(model.synthesis, name, _remember(name, getattr(model.synthesis, name)))


_KNOWN: dict[Any, Any] = {}


def _remember(name: str, seek: Callable[..., Any]) -> Callable[..., Any]:
    def sought(*arguments: Any, **options: Any) -> Any:
        parts = [*arguments, *(v for k, v in sorted(options.items()) if k != "subject")]
        key = (name, *(_content(part) for part in parts))
        if key not in _KNOWN:
            _KNOWN[key] = seek(*arguments, **options)
        return _KNOWN[key]

    return sought


def _content(part: Any) -> Any:
    if isinstance(part, Image):
        return hash(part.array.tobytes())
    return hash(part.tobytes()) if isinstance(part, np.ndarray) else part


def synthesize(
    capsys: pytest.CaptureFixture[str],
    out: Path,
    sources: dict[str, Path],
    targets: tuple[str, ...],
    *more: str,
) -> dict[str, Any]:
    named = [f"{contrast}={path}" for contrast, path in sources.items()]
    assert main(
        ["synthesize", *named, "--targets", ",".join(targets), "--out", str(out), *more, "--json"]
    ) in (0, 4)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_source_subset_makes_every_contrast_that_it_lacks(
    files: dict[str, Path], tmp_path: Path, once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for sources in SUBSETS:
        targets = tuple(c for c in CONTRASTS if c not in sources)
        document = synthesize(capsys, tmp_path, {c: files[c] for c in sources}, targets)
        assert tuple(document["targets"]) == targets, sources
        for target, result in document["targets"].items():
            assert result["key"] in sources
            assert set(result["contributions"]) == set(sources)
            assert sum(result["contributions"].values()) == pytest.approx(1, abs=1e-3)
            if result["abstained"]:
                assert "Abstained" in result["reasons"][-1], (sources, target)
                continue
            image = nibabel.load(result["path"])
            assert image.shape == (192, 224, 4), (sources, target)
            assert np.allclose(image.affine, nibabel.load(files[document["reference"]]).affine, atol=1e-4)
            values = np.asarray(image.dataobj)
            assert np.isfinite(values).all() and 0 < float(np.percentile(values, 99)) < 4 * result["scale"]


def test_what_each_source_changes_is_written_beside_the_result(
    files: dict[str, Path], tmp_path: Path, once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = {c: files[c] for c in ("T1", "T2")}
    result = synthesize(capsys, tmp_path, sources, ("FLAIR",), "--leave-one-out")["targets"]["FLAIR"]
    assert set(result["change"]) == {"T1", "T2"}
    for source, path in result["change"].items():
        image = nibabel.load(path)
        assert image.shape == nibabel.load(result["path"]).shape
        assert float(np.abs(np.asarray(image.dataobj)).max()) > 1
        assert str(image.header["descrip"]).count("SYNTHETIC FLAIR") == 1
        assert source in Path(path).name


def test_a_site_that_the_model_does_not_know_is_refused_with_those_it_knows(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["synthesize", f"T1={files['T1']}", "--targets", "T2", "--out", str(tmp_path), "--site", "elsewhere"]
    )
    assert code == 3
    assert "elsewhere: the model was not trained on this site" in " ".join(capsys.readouterr().err.split())
