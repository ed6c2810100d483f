"""A model follows the one in force when it is not worse on the same patients; otherwise somebody signs for it."""

from __future__ import annotations

import copy
import json
import os
import pwd
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydicom import dcmread

import training.archive
from medk2n_node.cli.app import main
from medk2n_node.config import Config
from medk2n_node.models import ModelService, shelf_of
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.study.synthesis_step import synthesize_revision
from model import Bundle, load_bundle, save_bundle
from tests.unit.study.test_steps import Bench, bench  # noqa: F401 - a fixture
from tests.unit.synthesis.fakes import fake_synthesize
from tests.unit.training.cases import small_case
from training.errors import PromotionRefused
from training.promote import compare

Call = Callable[..., tuple[int, dict[str, Any]]]
CASES = [small_case(name, ("T1", "T2"), value, depth=2) for name, value in (("a", 1.0), ("b", 0.9))]


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration weights with heads that make a flat, far too bright image."""
    demo = load_bundle()
    network = copy.deepcopy(demo.network)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.startswith("level."):
                tensor.fill_(3.0)
    facts = {k: v for k, v in demo.manifest.items() if k not in ("schema", "sha256", "network")}
    folder = tmp_path_factory.mktemp("worse") / "bundle"
    save_bundle(folder, network, {**facts, "name": "site", "version": "bad"}, demo.card)
    return folder


@pytest.fixture
def promote(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    """`medk2n train promote ... --json` on two small validation patients."""
    archive = SimpleNamespace(cases=lambda split: CASES if split == "validation" else [])
    monkeypatch.setattr(training.archive, "open_archive", lambda folder: archive)

    def call(*arguments: object) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        named = ["--archive", str(tmp_path)] if "--archive" not in arguments else []
        code = main(
            ["--config", str(config_file), "train", "promote", *map(str, arguments), *named, "--json"]
        )
        return code, json.loads(capsys.readouterr().out)

    return call


def test_a_model_that_is_not_worse_is_put_into_service_and_one_command_returns_to_the_old(
    promote: Call, models: Call, node: Config, versions: dict[str, Path], demo: Bundle
) -> None:
    service = ModelService(node)
    assert service().digest == demo.digest
    code, document = promote(versions["1"])
    assert code == 0 and document["promotable"] and document["changed"]
    assert document["champion"] == demo.digest
    assert {one["target"] for one in document["targets"]} == {"T1", "T2"}
    assert all(one["champion"] == one["challenger"] and one["patients"] == 2 for one in document["targets"])
    assert service().digest == document["challenger"], "the running node takes it over"
    assert models("rollback", "--reason", "test")[0] == 0
    assert service().digest == demo.digest


def test_a_worse_model_is_refused_with_the_targets_and_the_margin_and_nothing_changes(
    promote: Call, node: Config, worse: Path
) -> None:
    code, document = promote(worse)
    assert code == 4
    assert document["error"]["code"] == "worse"
    assert "T1 on average" in document["error"]["reason"]
    assert "(margin 0.3 dB)" in document["error"]["reason"]
    assert "--override --reason TEXT" in document["error"]["cure"]
    assert shelf_of(node).record().changes == ()


def test_a_worse_model_goes_into_service_only_for_a_reason_that_is_kept(
    promote: Call, node: Config, worse: Path
) -> None:
    code, document = promote(worse, "--override")
    assert code == 2 and document["error"]["code"] == "reason"
    code, document = promote(worse, "--override", "--reason", "a new scanner", "--by", "Dr. Who")
    assert code == 0 and not document["promotable"] and document["changed"]
    kept = shelf_of(node).record().changes[-1]
    assert kept.who == "Dr. Who"
    assert kept.reason.startswith("promoted although worse (") and kept.reason.endswith("): a new scanner")


def test_a_comparison_alone_changes_nothing(promote: Call, node: Config, versions: dict[str, Path]) -> None:
    code, document = promote(versions["1"], "--dry-run")
    assert code == 0 and document["promotable"] and not document["changed"]
    assert shelf_of(node).record().changes == ()


def test_a_folder_without_a_bundle_is_named(promote: Call, tmp_path: Path) -> None:
    code, document = promote(tmp_path)
    assert code == 3 and document["error"]["code"] == "no_bundle"


def test_a_model_without_the_limits_of_the_one_in_force_is_refused(
    promote: Call, node: Config, demo: Bundle, tmp_path: Path
) -> None:
    facts = {
        k: v for k, v in demo.manifest.items() if k not in ("schema", "sha256", "network", "calibration")
    }
    save_bundle(tmp_path / "bare", demo.network, {**facts, "version": "bare"}, demo.card)
    code, document = promote(tmp_path / "bare")
    assert code == 4 and "its limits of abstention would be lost" in document["error"]["reason"]
    assert shelf_of(node).record().changes == ()


def test_patients_that_a_model_learned_from_do_not_judge(demo: Bundle) -> None:
    taught = [replace(case, origin={"T1": digest * 64}) for case, digest in zip(CASES, "ab", strict=True)]
    learned = {**demo.manifest["training"], "seen": ["b" * 16]}
    other = replace(demo, digest="ab" * 32, manifest={**demo.manifest, "training": learned})
    match = compare(demo, other, taught)
    assert {one.patients for one in match.standings} == {1}
    assert any("1 validation patients were left out" in words for words in match.notes)
    learned["seen"] = ["a" * 16, "b" * 16]
    with pytest.raises(PromotionRefused, match="2 validation patients were left out"):
        compare(demo, other, taught)


def test_both_are_compared_as_the_site_that_the_node_is(
    demo: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.promote

    asked: list[int | None] = []

    def look(methods: Any, *arguments: Any, **options: Any) -> Any:
        asked.extend(method.site for method in methods)
        raise RuntimeError("seen")

    monkeypatch.setattr(training.promote, "evaluate", look)
    other = replace(demo, digest="ab" * 32)
    known = [replace(case, site="brats") for case in CASES]
    for site in ("", "openms", "nowhere"):
        with pytest.raises(RuntimeError, match="seen"):
            compare(demo, other, known, site=site)
    assert asked == [0, 0, demo.sites["openms"], demo.sites["openms"], 0, 0], "not as the cases' own site"


def test_a_model_that_does_not_know_the_nodes_site_is_refused(demo: Bundle) -> None:
    other = replace(demo, digest="ab" * 32, sites={"unknown": 0})
    match = compare(demo, other, CASES, site="openms", every=100)
    assert any("every study would be refused" in words for words in match.against)


def test_what_was_not_compared_is_not_put_into_service(
    promote: Call, node: Config, versions: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.promote

    folder, whole = tmp_path / "offered", training.promote.compare
    shutil.copytree(versions["1"], folder)

    def exchanged(*arguments: Any, **options: Any) -> Any:
        match = whole(*arguments, **options)
        shutil.rmtree(folder)
        shutil.copytree(versions["2"], folder)
        return match

    monkeypatch.setattr(training.promote, "compare", exchanged)
    code, document = promote(folder)
    assert code != 0 and document["error"]["code"] == "overtaken"
    assert shelf_of(node).record().changes == ()

    def overtaken(*arguments: Any, **options: Any) -> Any:
        match = whole(*arguments, **options)
        shelf_of(node).use(versions["3"], who="somebody", reason="meanwhile", now=datetime.now(UTC))
        return match

    monkeypatch.setattr(training.promote, "compare", overtaken)
    code, document = promote(versions["1"])
    assert code != 0 and "exchanged while the two were compared" in document["error"]["reason"]
    assert [one.version for one in shelf_of(node).record().changes] == ["3"]


def test_a_user_without_a_name_may_promote(
    promote: Call, node: Config, versions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert promote(versions["1"])[0] == 0
    assert shelf_of(node).record().changes[-1].who == f"user {os.getuid()}"


def test_the_worst_case_counts_for_itself(demo: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import training.promote

    def rows(name: str, values: list[float]) -> list[Any]:
        return [
            SimpleNamespace(
                method=name, target="T2", patient=str(k), figure=lambda reading, value=value: value
            )
            for k, value in enumerate(values)
        ]

    found = [*rows("in force", [20.0, 20.0, 20.0]), *rows("challenger", [22.0, 22.0, 18.0])]
    evaluation = SimpleNamespace(
        targets=("T2",), of=lambda name, target: [one for one in found if one.method == name]
    )
    monkeypatch.setattr(training.promote, "evaluate", lambda *arguments, **options: evaluation)
    match = compare(demo, replace(demo, digest="ab" * 32), CASES)
    assert match.against == ("T2 in the worst case 18.00 dB, in force 20.00 dB (margin 1.0 dB)",)
    with pytest.raises(PromotionRefused):
        match.refuse_if_worse()


def test_what_cannot_be_compared_is_not_promoted(demo: Bundle) -> None:
    with pytest.raises(PromotionRefused, match="it is the one in force already"):
        compare(demo, demo, CASES)
    alone = [small_case("a", ("T1",), 1.0, depth=3)]
    with pytest.raises(PromotionRefused, match="no model is put into service unseen"):
        compare(demo, replace(demo, digest="ab" * 32), alone)


@pytest.mark.slow
def test_the_digest_of_a_promoted_model_stands_in_every_later_object(
    bench: Bench,  # noqa: F811
    promote: Call,
    versions: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MEDK2N__NODE__STORAGE", str(bench.context.config.storage_path))
    service = ModelService(bench.context.config)
    running = replace(bench.context, bundle=service, bundle_named=service.named, synthesize=fake_synthesize)
    before = service().digest
    code, document = promote(versions["2"])
    assert code == 0
    after = document["challenger"]
    revision = bench.settle()
    plan_revision(running, revision)
    assert synthesize_revision(running, revision) == "DELIVERING"
    shown = bench.show()
    assert shown["report"]["model"]["digest"] == after
    made = str(dcmread(bench.store.root / shown["results"][0]["first_file"]))
    assert after[:12] in made and before[:12] not in made
