"""The images are asked where the weights bring a judge, and what they say reaches the plan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pydicom import dcmread

import model
from dicom_rules.classify import classify
from medk2n_node.cli import main
from medk2n_node.config import load_config
from medk2n_node.demo.study import ScannedSeries, WrittenStudy, write_study
from medk2n_node.study.planning import Planned, make_plan
from medk2n_node.synthesis import image_votes
from tests.unit.synthesis.fakes import FakeBundle


@dataclass(frozen=True)
class Judge:
    """A judge of identity that sees the same contrast in every image."""

    sees: str
    contrasts: tuple[str, ...] = model.CONTRASTS

    def to(self, device: str) -> Judge:
        """As a module moves."""
        return self

    def logits(self, slices: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) -> (B, C)."""
        logits = torch.zeros(len(slices), len(self.contrasts))
        logits[:, self.contrasts.index(self.sees)] = 20.0
        return logits


@pytest.fixture
def study(tmp_path: Path) -> WrittenStudy:
    """T1 and T2 of a bright box in the dark."""
    array = np.zeros((10, 40, 40), np.float32)
    array[:, 8:32, 8:32] = np.random.default_rng(1).uniform(500, 1000, (10, 24, 24))
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    return write_study(
        tmp_path / "study",
        *(ScannedSeries(contrast=contrast, array=array, affine=affine) for contrast in ("T1", "T2")),
    )


def planned(study: WrittenStudy, judge: Judge | None, **classification: str) -> Planned:
    environment = {f"MEDK2N__CLASSIFICATION__{name.upper()}": value for name, value in classification.items()}
    files = {study.series_uids[name]: study.files[name] for name in study.files}
    return make_plan(
        files,
        config=load_config(None, environment),
        bundle=cast(Any, FakeBundle(identity=judge)),
        problems=[],
        patients={uid: frozenset({"one"}) for uid in files},
        numbers_taken=[],
        content=dict.fromkeys(files, "x"),
    )


def test_every_usable_series_gets_a_vote_and_blank_ones_none(study: WrittenStudy) -> None:
    classes = [
        classify([dcmread(file, stop_before_pixels=True) for file in study.files[name]], pixels_blank=False)
        for name in study.files
    ]
    files = {study.series_uids[name]: study.files[name] for name in study.files}
    votes = image_votes(files, classes, cast(Any, FakeBundle(identity=Judge("T2"))))
    assert set(votes) == set(files)
    assert all(vote["T2"] > 0.99 and sum(vote.values()) == pytest.approx(1) for vote in votes.values())
    assert image_votes(files, classes, cast(Any, FakeBundle())) == {}
    for file in study.files["T1"]:
        blank = dcmread(file)
        blank.PixelData = bytes(len(blank.PixelData))
        blank.save_as(file)
    assert set(image_votes(files, classes, cast(Any, FakeBundle(identity=Judge("T2"))))) == {
        study.series_uids["T2"]
    }


def test_without_a_judge_the_headers_stand_alone(study: WrittenStudy) -> None:
    assert planned(study, None).plan.verdict.state == "PLANNED"


def test_a_study_whose_images_contradict_its_headers_waits_for_a_person(study: WrittenStudy) -> None:
    verdict = planned(study, Judge("ADC"), on_image_disagreement="hold").plan.verdict
    assert (verdict.state, verdict.code) == ("HELD", "image_disagrees")
    assert "the images look like ADC" in verdict.words


def test_the_site_may_exclude_such_series_or_not_ask_at_all(study: WrittenStudy) -> None:
    excluded = planned(study, Judge("T2"), on_image_disagreement="exclude").plan
    assert set(excluded.present) == {"T2"}
    reasons = next(role.reasons for role in excluded.series if role.series_uid == study.series_uids["T1"])
    assert any("The images look like T2" in sentence for sentence in reasons)
    by_default = planned(study, Judge("ADC")).plan
    assert by_default.verdict.state == "PLANNED"


def test_headers_only_never_asks_the_images(
    study: WrittenStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = FakeBundle(identity=Judge("ADC"))
    monkeypatch.setattr("medk2n_node.models.load_in_force", lambda config: bundle)
    monkeypatch.setenv("MEDK2N__CLASSIFICATION__ON_IMAGE_DISAGREEMENT", "hold")
    assert main(["plan", str(study.folder), "--headers-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["state"] == "PLANNED"
    assert main(["plan", str(study.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["code"] == "image_disagrees"
