"""A training of a site's own, from a prepared archive to a bundle that opens."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medk2n_node.cli import main
from model import Bundle, RequestError, load_bundle
from model.bundle import open_and_try, verify_bundle
from model.encoder import lora_plus_groups
from model.network import MedK2N
from tests.unit.training.cases import small_case
from tests.unit.training.made_archive import FULL, write_archive
from training.errors import TrainingError
from training.fitting import Fitted, Request, fit
from training.fitting.figures import single_source_scores
from training.fitting.ground import read
from training.fitting.plan import RATES, timed
from training.loop import ROWS, Recipe, ablated, build, build_as, fabric_of, finished, read_log


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def _images(bundle: Bundle, sources: list[int], targets: list[int], site: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(1, len(sources), 3, 64, 64, generator=generator)
    levels = torch.rand(1, len(sources), 9, generator=generator)
    with torch.inference_mode():
        return bundle.network(x, sources, targets, levels, site=torch.tensor([site])).images


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path]:
    """One training by LoRA+ on two archives of two sites, one of which does not say which it is."""
    folder = tmp_path_factory.mktemp("lora")
    north = write_archive(folder / "north")
    nameless = write_archive(
        folder / "nameless", site="unknown", contrasts=(("T1", "T2"),), training=2, patients="q"
    )
    request = Request(
        archives=(north, nameless), out=folder / "run", adapt="lora", sites=("harbour",), terms="Ours alone.",
        adversarial=0.05, steps=4, batch=2, evaluations=1, save_every=2,
    )  # fmt: skip
    return fit(request), folder


@pytest.mark.slow
def test_a_training_ends_with_a_bundle_that_opens_and_needs_no_adapters(lora: tuple[Fitted, Path]) -> None:
    fitted, _ = lora
    made, before = open_and_try(fitted.bundle), load_bundle()
    assert made.digest == fitted.digest and fitted.start == before.digest
    names = made.network.state_dict()
    assert list(names) == list(before.network.state_dict()) and not any("lora" in n for n in names)
    adapted = "encoder.trunk.blocks.0.attn.qkv.weight"
    assert not torch.equal(names[adapted], before.network.state_dict()[adapted]), "the adapters are merged in"
    mlp = "encoder.trunk.blocks.0.mlp.layers.0.weight"
    assert torch.equal(names[mlp], before.network.state_dict()[mlp]), "all else of the encoder is as it was"


@pytest.mark.slow
def test_the_sites_of_the_archives_are_sites_of_the_bundle(lora: tuple[Fitted, Path]) -> None:
    fitted, _ = lora
    made = load_bundle(fitted.bundle)
    assert set(made.sites) == {*load_bundle().sites, "harbour", "north"}
    rows = made.network.site.rows.weight
    assert not torch.equal(rows[made.sites["harbour"]], rows[made.sites["north"]])
    assert fitted.cases == {"training": 5, "validation": 2}


@pytest.mark.slow
def test_the_card_names_data_terms_failures_recipe_and_versions(lora: tuple[Fitted, Path]) -> None:
    facts = verify_bundle(lora[0].bundle)
    for words in ("Ours alone.", "| harbour | 2 | 2 | T1 (2), T2 (2) |", "## Known failures", "LoRA+",
                  "Only 5 patients trained it", f"torch {version('torch')}", "**uncalibrated**"):  # fmt: skip
        assert words in facts.card, words
    training = facts.manifest["training"]
    assert training["recipe"]["adapt"] == "lora" and training["recipe"]["seed"] == Request.seed
    assert training["start"] == lora[0].start and len(training["archives"]) == 2
    assert training["precision"] in ("32-true", "bf16-mixed")
    said = json.dumps(facts.manifest) + facts.card
    assert not re.search(r"\b[pq]\d\b", said), "patients are nobody's business"


@pytest.mark.slow
def test_a_run_can_be_watched(lora: tuple[Fitted, Path]) -> None:
    run = lora[0].run
    curve = read_log(run / "loss.csv")
    assert [row["step"] for row in curve] == ["1", "2", "3", "4"]
    assert all(float(row["rec"]) > 0 and float(row["adversarial"]) > 0 for row in curve)
    (row,) = read_log(run / "log.csv")
    assert float(row["mean"]) > 5 and float(row["T2+FLAIR>T1"]) > 5
    assert list((run / "tensorboard").glob("events.*"))
    with Image.open(run / "pictures" / "4.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape[0] > 300
    orange = (pixels[..., 0] > 200) & (abs(pixels[..., 1] - 165) < 40) & (pixels[..., 2] < 60)
    assert orange.sum() > 50, "the word SYNTHETIC stands over what was made"


@pytest.mark.slow
def test_a_finished_run_is_not_overwritten_and_other_data_are_not_mixed_in(lora: tuple[Fitted, Path]) -> None:
    fitted, folder = lora
    request = Request(archives=(folder / "north",), out=fitted.run)
    with pytest.raises(TrainingError, match="holds a training already") as refused:
        fit(request)
    assert refused.value.code == "exists"
    other = write_archive(folder / "other", training=2)
    with pytest.raises(TrainingError, match="not those that this training began with"):
        fit(replace(request, archives=(other,), resume=True))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("site", "north"), ("contrast", "SWI")])
def test_a_new_site_or_contrast_leaves_what_the_others_get_bit_equal(
    tmp_path: Path, kind: str, name: str
) -> None:
    contrasts = (FULL,) if kind == "site" else (("T1", "FLAIR", "SWI"),)
    archive = write_archive(tmp_path / "archive", contrasts=contrasts)
    request = Request(archives=(archive,), out=tmp_path / "run", steps=3, batch=2, evaluations=1)
    grown = replace(request, new_site=name) if kind == "site" else replace(request, new_contrast=name)
    made, before = load_bundle(fit(grown).bundle), load_bundle()
    for site in before.sites.values():
        for sources, targets in (([0], [2]), ([0, 2], [3]), ([1, 3], [0, 2]), ([0, 2, 3], [1, 4])):
            assert torch.equal(
                _images(made, sources, targets, site), _images(before, sources, targets, site)
            ), (site, sources, targets)
    count = len(before.contrasts)
    assert torch.equal(made.network.key_score[:count, :count], before.network.key_score)
    assert torch.equal(made.network.history[:count, :count], before.network.history)
    if kind == "site":
        row = made.network.site.rows.weight[made.sites["north"]]
        assert not torch.allclose(row, before.network.site.rows.weight.mean(dim=0), atol=1e-3), (
            "it was taught"
        )
        assert not torch.equal(_images(made, [0], [3], made.sites["north"]), _images(made, [0], [3], 0))
    else:
        assert made.contrasts == (*before.contrasts, "SWI")
        assert float(made.key_preference["T1"]["SWI"]) > 0 and float(made.key_preference["SWI"]["T1"]) > 0
        assert bool(torch.isfinite(_images(made, [0, 6], [3], 0)).all())


def test_too_few_patients_are_refused_before_anything_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = write_archive(tmp_path / "archive", training=1)
    assert main(["train", "fit", str(archive), "--out", str(tmp_path / "run"), "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "too_small" and "1 more to train on" in error["reason"]
    assert not (tmp_path / "run").exists()


def test_a_patient_who_trains_in_one_archive_and_validates_in_another_is_a_leak(tmp_path: Path) -> None:
    one, other = write_archive(tmp_path / "one"), write_archive(tmp_path / "other", training=2)
    with pytest.raises(TrainingError, match="1 patients train in one of them and validate in another"):
        fit(Request(archives=(one, other), out=tmp_path / "run"))


def test_the_same_images_under_another_salt_are_a_leak_as_well(tmp_path: Path) -> None:
    one = write_archive(tmp_path / "one", training=2, scans="abc")
    other = write_archive(tmp_path / "other", training=2, patients="q", scans="cde")
    with pytest.raises(TrainingError, match="the images of 1 validation patients also train") as caught:
        fit(Request(archives=(one, other), out=tmp_path / "run"))
    assert str(one / "salt") in caught.value.cure
    apart = write_archive(tmp_path / "apart", training=2, patients="q", scans="def")
    assert len(read(Request(archives=(one, apart), out=tmp_path / "run")).training) == 4


def test_nothing_is_begun_where_something_was_to_go_on(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "one")
    with pytest.raises(TrainingError, match="no training was begun there"):
        fit(Request(archives=(archive,), out=tmp_path / "mistyped", resume=True))
    assert not (tmp_path / "mistyped").exists()


def test_what_cannot_be_is_refused_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.loop.machine.cpu_computes_bf16", lambda: False)
    archive = write_archive(tmp_path / "archive")
    request = Request(archives=(archive,), out=tmp_path / "run")
    for other, code in (
        (replace(request, new_site="a", new_contrast="b"), "grow"),
        (replace(request, new_site="a", start="scratch"), "grow"),
        (replace(request, new_contrast="SWI"), "contrast"),
        (replace(request, modules="B7"), "adapt"),
        (replace(request, sites=("a", "b")), "site"),
        (replace(request, accelerator="gpu"), "device"),
        (replace(request, precision="bf16"), "precision"),
    ):
        if code in ("device", "precision") and torch.cuda.is_available():
            continue
        with pytest.raises(TrainingError) as refused:
            fit(other)
        assert refused.value.code == code and refused.value.cure
    with pytest.raises(RequestError, match="knows it already"):
        fit(replace(request, new_site="brats"))


@pytest.mark.parametrize(
    ("able", "asked", "wanted"),
    [
        (True, "auto", "bf16-mixed"),
        (True, "bf16", "bf16-mixed"),
        (True, "fp32", "32-true"),
        (False, "auto", "32-true"),
    ],
)
def test_a_cpu_computes_in_bf16_only_where_it_has_instructions_for_it(
    able: bool, asked: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able}, raising=False)
    assert str(fabric_of("cpu", asked).strategy.precision.precision) == wanted


def test_the_network_makes_the_same_images_in_either_precision() -> None:
    network = copy.deepcopy(load_bundle().network).requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    x, levels = torch.rand(2, 2, 3, 64, 64, generator=generator), torch.rand(2, 2, 9, generator=generator)
    whole = network(x, [0, 2], [3], levels).images
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, [0, 2], [3], levels).images
    half.float().square().mean().backward()
    apart = (half - whole).detach().abs()
    assert float(apart.mean()) < 0.01 and float(apart.max()) > 0
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)


def test_adapters_learn_at_their_own_rates_and_the_rest_of_the_encoder_not_at_all() -> None:
    begin = load_bundle().network
    recipe = Recipe(adapt="lora", learning_rate=1e-3, network=begin.config)
    network, groups = build(recipe, begin)
    rates = {g["name"]: g["initial_lr"] for g in groups}
    assert rates == {"lora_A": 1e-3, "lora_B": 16e-3, "decay": 1e-3, "plain": 1e-3}
    assert [g["name"] for g in lora_plus_groups(network, 1e-3)] == list(rates)
    frozen = {n for n, p in network.named_parameters() if not p.requires_grad}
    assert frozen and all(n.startswith("encoder.") and ".lora_" not in n for n in frozen)
    with torch.no_grad():
        for name, p in network.named_parameters():
            if ".lora_B." in name:
                p.normal_(0, 0.02)
    merged = finished(network, recipe)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for a, b in zip(network.encoder(x), merged.encoder(x), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_the_rows_of_the_paper_s_table_switch_modules_on_one_after_the_other() -> None:
    bundle = load_bundle()
    images = {}
    for row in ROWS:
        network: MedK2N = build_as(copy.deepcopy(bundle.network), row)
        images[row] = _images(replace(bundle, network=network), [0, 2, 3], [1], 0)
    different = ("B0", "B1", "B2", "B3")
    for a in different:
        for b in different:
            assert torch.equal(images[a], images[b]) == (a == b), (a, b)
    assert torch.equal(images["B3"], images["B5"]), "CMIM and the curriculum are matters of training alone"
    weights = {row: ablated(Recipe(), row).weights for row in ROWS}
    assert [weights[r].gate > 0 for r in ROWS] == [False, True, True, True, True, True]
    assert [weights[r].causal > 0 for r in ROWS] == [False, False, False, False, True, True]
    assert [len(ablated(Recipe(), r).curriculum) for r in ROWS] == [1, 1, 1, 1, 1, 4]


def test_a_recipe_is_read_back_as_it_was_written() -> None:
    recipe = ablated(
        Recipe(adapt="lora", mcbs=True, network=replace(Recipe().network, sites=("unknown", "a"))), "B2"
    )
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json(), default=str))) == recipe


def test_a_short_training_of_a_trained_network_goes_in_small_steps() -> None:
    def rate(steps: int, **more: object) -> float:
        request = replace(Request(archives=(), out=Path("run")), **more)  # type: ignore[arg-type]
        return timed(Recipe(steps=steps, grow="site:x" if request.new_site else ""), request).learning_rate

    assert rate(2000) == rate(500) == RATES["full"]
    assert rate(30) == pytest.approx(RATES["full"] * 30 / 500)
    assert rate(30, learning_rate=0.1) == 0.1, "what was asked for is not changed"
    assert rate(30, start="scratch") == RATES["scratch"], "an untrained network has nothing to lose"
    assert rate(30, new_site="x") == RATES["grow"]


def test_a_few_cases_do_not_overthrow_the_scores_that_are_known() -> None:
    network = load_bundle().network
    cases = [small_case("a", ("T1", "T2"), 1.0)]
    measured = single_source_scores(network, cases)
    known = torch.full_like(measured, 18.0)
    known[0, 3] = 0.0  # never measured before, nor by this case
    found = single_source_scores(network, cases, keep=known)
    t1, t2 = 0, 2
    assert float(found[t1, t2]) == pytest.approx((8 * 18.0 + float(measured[t1, t2])) / 9, rel=1e-5)
    assert float(found[1, 3]) == 18.0 and float(found[0, 3]) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("start", [None, "scratch"])
def test_only_scores_that_the_start_brought_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str | None
) -> None:
    kept: list[torch.Tensor | None] = []

    def scores(network: MedK2N, _cases: object, *, keep: torch.Tensor | None = None) -> torch.Tensor:
        kept.append(keep)
        return torch.full_like(network.key_score, 10.0 + len(kept))

    monkeypatch.setattr("training.fitting.carry.single_source_scores", scores)
    archive = write_archive(tmp_path / "archive")
    request = Request(archives=(archive,), out=tmp_path / "run", steps=2, batch=2, evaluations=2)
    made = load_bundle(fit(request if start is None else replace(request, start=start)).bundle)
    if start is None:
        assert len(kept) == 1 and kept[0] is not None
        assert torch.equal(kept[0], load_bundle().network.key_score)
    else:
        assert kept == [None, None], "what an untrained network was worth at first counts for nothing"
    assert float(made.network.key_score.max()) == 10.0 + len(kept)
