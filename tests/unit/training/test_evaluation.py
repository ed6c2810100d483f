"""An evaluation: who wins, by how much, and a page that a person can read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.cases import head_case
from training.archive import Case
from training.errors import TrainingError
from training.evaluate import Evaluation, evaluate, from_all_others, patterns, write_report
from training.evaluate.evaluation import stride
from training.peers import brain_slices
from training.peers.method import Images, Numbers


@dataclass(frozen=True)
class Off:
    """The truth, off by a fixed amount: its figures are known beforehand."""

    name: str
    by: float
    seed: int | None = None

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        z = brain_slices(case, every)
        truth = np.stack([case.contrasts[t][z].astype(np.float32) for t in targets], axis=1)
        top = [np.percentile(case.contrasts[t].astype(np.float32)[case.brain], 99.5) for t in targets]
        return (truth / np.array(top)[:, None, None] - self.by).astype(np.float32), z


@dataclass(frozen=True)
class Hard(Off):
    """Good, but for FLAIR, which is hard."""

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        images, z = super().predict(case, sources, targets, every)
        return np.where(np.array([t == "FLAIR" for t in targets])[:, None, None], 0, images), z


def _cases(count: int) -> list[Case]:
    return [_small(head_case(f"case{k}", ("T1", "T2", "FLAIR"), 0.8 + 0.02 * k)) for k in range(count)]


def _small(case: Case) -> Case:
    """Its middle: figures cost what their pixels cost."""

    def cut(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(a[:, 50:110, 34:94])

    contrasts = {name: cut(a) for name, a in case.contrasts.items()}
    return replace(case, contrasts=contrasts, brain=cut(case.brain), lesion=cut(case.lesion))


@pytest.fixture(scope="module")
def found() -> Evaluation:
    case = _cases(1)[0]
    lesion = np.zeros_like(case.brain)
    lesion[:, 20:30, 26:36] = True
    cases = [replace(case, lesion=lesion), *_cases(6)[1:]]
    methods = [Off("ours", 0.1), Off("worse", 0.2, seed=1), Off("worse", 0.25, seed=2), Off("same", 0.1)]
    return evaluate(
        methods, cases, [(("T1",), ("T2", "FLAIR")), (("T1", "T2"), ("FLAIR",))], every=4, pictures=2,
        facts={"model": "digest 0123"},
    )  # fmt: skip


def test_the_figures_are_what_they_must_be(found: Evaluation) -> None:
    document = found.to_json()
    summary = {one["method"]: one for one in document["summary"]}
    assert summary["ours"]["raw"]["psnr"]["mean"] == pytest.approx(20.0, abs=0.01)
    assert summary["ours"]["raw"]["psnr"]["patients"] == 6
    assert summary["worse"]["seeds"] == {
        "1": pytest.approx(-20 * np.log10(0.2), abs=0.05), "2": pytest.approx(-20 * np.log10(0.25), abs=0.05),
    }  # fmt: skip
    assert summary["ours"]["lesion"]["psnr"]["mean"] == pytest.approx(20.0, abs=0.01)
    assert len(found.of("ours")) == 6 * 3


def test_who_wins_is_said_with_the_patient_as_the_unit(found: Evaluation) -> None:
    said = {(c.theirs, c.scope, c.reading): c for c in found.comparisons()}
    worse = said["worse", "all", "raw"]
    assert worse.difference.patients == 6
    assert worse.difference.mean == pytest.approx(20 + 10 * (np.log10(0.2) + np.log10(0.25)), abs=0.05)
    assert worse.won == worse.rows == 18  # rows, with the seeds of the other averaged
    assert worse.p == pytest.approx(2**-5)
    assert worse.p_holm is not None and worse.p_holm > worse.p
    assert said["same", "all", "raw"].difference.mean == 0
    assert said["same", "all", "raw"].p is None


def test_the_worst_rows_come_first_and_are_pictured(found: Evaluation) -> None:
    worst = [row.figure("raw") for row in found.worst("ours")]
    assert worst == sorted(worst, key=float)  # type: ignore[arg-type]
    assert len(found.pictures) == 2
    assert found.pictures[0].row == found.worst("ours")[0]
    assert found.pictures[0].brain.any()


def test_the_page_stands_alone_and_says_what_a_reader_needs(found: Evaluation, tmp_path: Path) -> None:
    files = write_report(found, tmp_path / "report")
    html = files["html"].read_text(encoding="utf-8")
    assert "Wins:</span> ours against worse, as it comes: +" in html
    assert "Even:</span> ours against same, as it comes: +0.00 dB" in html
    assert "SYNTHETIC" not in re.sub(r'base64,[^"]+', "", html) or "synthetic" in html
    assert html.count("data:image/png;base64,") == 3  # the bars and two worst cases
    assert not re.search(r'(src|href)="(?!data:)', html), "the page refers to another file"
    assert "Only every 4th slice was computed" in html
    assert "digest 0123" in html
    assert html.index("Worst cases first") < html.index("All methods")
    document = json.loads(files["json"].read_text(encoding="utf-8"))
    assert document["methods"] == ["ours", "worse", "same"]
    assert {one["target"] for one in document["per_target"]} == {"T2", "FLAIR"}
    assert document["facts"] == {"every": 4, "model": "digest 0123"}


def test_the_same_evaluation_gives_the_same_page(found: Evaluation, tmp_path: Path) -> None:
    pages = [write_report(found, tmp_path / name)["html"].read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_few_patients_and_missing_lesions_are_said() -> None:
    found = evaluate([Off("ours", 0.1)], _cases(1), patterns(("T1", "T2")))
    text = " ".join(found.not_checked)
    assert "1 patient: below six no difference can be significant" in text
    assert "No case has a lesion mask" in text
    assert found.rows[0].figure("raw", "z_ratio") == pytest.approx(1.0, abs=0.01)


@dataclass(frozen=True)
class Partly(Off):
    """A method that does not know every contrast."""

    contrasts: tuple[str, ...] = ("T1", "T2")


def test_means_are_taken_over_the_rows_that_all_methods_made(tmp_path: Path) -> None:
    cases = _cases(2)
    ours, theirs = Hard("ours", 0.1), Partly("theirs", 0.15)
    asked = [*from_all_others(cases, ["T1", "T2", "FLAIR"]), (("T1",), ("T2",))]
    found = evaluate([ours, theirs], cases, asked)
    said = {one["method"]: one for one in found.to_json()["summary"]}
    assert said["ours"]["n"] == said["theirs"]["n"] < len(found.of("ours"))
    assert said["ours"]["raw"]["psnr"]["mean"] > said["theirs"]["raw"]["psnr"]["mean"]
    compared = next(one for one in found.comparisons() if one.scope == "all" and one.reading == "raw")
    assert compared.difference.mean > 0, "as the verdict says"
    assert any("theirs cannot make every row" in words for words in found.not_checked)
    write_report(found, tmp_path)
    assert "theirs cannot make every row" in (tmp_path / "report.html").read_text()


def test_a_name_cannot_bring_markup_into_the_page(tmp_path: Path) -> None:
    found = evaluate([Off("<script>alert(1)</script>", 0.1)], _cases(1), [(("T1",), ("T2",))], every=4)
    assert "<script>" not in write_report(found, tmp_path)["html"].read_text(encoding="utf-8")


def test_a_stride_leaves_enough_of_a_thick_volume() -> None:
    case = head_case("a", ("T1", "T2"), 1.0)  # twelve slices
    assert stride(case, 1) == 1
    assert stride(case, 12) == 2


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(TrainingError) as caught:
        evaluate([Off("ours", 0.1)], _cases(1), [(("DWI",), ("ADC",))])
    assert caught.value.code == "nothing_to_evaluate"


def test_every_contrast_from_all_others_is_asked_of_cases_that_differ() -> None:
    stroke, glioma = (
        replace(case, contrasts=dict.fromkeys(names, case.contrasts["T1"]))
        for case, names in zip(_cases(2), (("DWI", "ADC"), ("T1", "FLAIR", "T2")), strict=True)
    )
    known = ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC")
    assert from_all_others([stroke, glioma, stroke], known) == [
        (("ADC",), ("DWI",)),
        (("DWI",), ("ADC",)),
        (("T2", "FLAIR"), ("T1",)),
        (("T1", "FLAIR"), ("T2",)),
        (("T1", "T2"), ("FLAIR",)),
    ]
    assert from_all_others([replace(stroke, contrasts={"DWI": stroke.contrasts["DWI"]})], known) == []
