"""What an exchange of the model does to a study: nothing to one in progress, a new plan to one that waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from pydicom import dcmread

import model
from medk2n_node.models import ModelUnusable
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.study.synthesis_step import synthesize_revision
from tests.unit.study.test_steps import Bench, bench  # noqa: F401 - a fixture
from tests.unit.synthesis.fakes import FakeBundle, fake_synthesize

OLD, NEW = (cast("model.Bundle", FakeBundle(digest=two * 32, version=two)) for two in ("ab", "cd"))


def broken() -> model.Bundle:
    raise ModelUnusable(
        code="model_unusable", subject="the model in force", reason="it was cut short", cure="Restore it"
    )


def killed(*arguments: Any, **options: Any) -> model.Outputs:
    raise KeyboardInterrupt


def test_a_study_that_began_is_finished_with_the_model_it_began_with(bench: Bench) -> None:  # noqa: F811
    revision = bench.settle()
    plan_revision(bench.context, revision)
    with pytest.raises(KeyboardInterrupt):
        synthesize_revision(replace(bench.context, synthesize=killed), revision)
    used: list[str] = []

    def note(sources: Any, targets: Any, bundle: FakeBundle, **options: Any) -> model.Outputs:
        used.append(bundle.digest)
        return fake_synthesize(sources, targets, bundle, **options)

    kept = {OLD.digest: OLD, NEW.digest: NEW}
    exchanged = replace(bench.context, bundle=lambda: NEW, bundle_named=kept.__getitem__, synthesize=note)
    assert synthesize_revision(exchanged, revision) == "DELIVERING"
    assert used == [OLD.digest]
    document = bench.show()
    assert document["report"]["model"]["digest"] == OLD.digest
    made = dcmread(bench.store.root / document["results"][0]["first_file"])
    assert OLD.digest[:12] in str(made)
    assert NEW.digest[:12] not in str(made)


def test_a_study_that_waited_is_planned_and_made_with_the_new_model(bench: Bench) -> None:  # noqa: F811
    revision = bench.settle()
    plan_revision(bench.context, revision)
    exchanged = replace(bench.context, bundle=lambda: NEW)
    assert synthesize_revision(exchanged, revision) == "SETTLED"
    assert bench.show()["words"] == "the model was exchanged after the plan"
    plan_revision(exchanged, revision)
    assert synthesize_revision(exchanged, revision) == "DELIVERING"
    assert bench.show()["report"]["model"]["digest"] == NEW.digest


def test_a_study_whose_model_is_gone_is_planned_again_with_the_one_in_force(bench: Bench) -> None:  # noqa: F811
    revision = bench.settle()
    plan_revision(bench.context, revision)
    with pytest.raises(KeyboardInterrupt):
        synthesize_revision(replace(bench.context, synthesize=killed), revision)
    gone = replace(bench.context, bundle=lambda: NEW, bundle_named=lambda digest: broken())
    assert synthesize_revision(gone, revision) == "SETTLED"
    assert plan_revision(gone, revision) == "PLANNED"
    assert synthesize_revision(gone, revision) == "DELIVERING"


def test_a_broken_model_holds_the_study_in_words_and_it_goes_on_by_itself(bench: Bench) -> None:  # noqa: F811
    from medk2n_node.study.attendant import Attendant

    revision = bench.settle()
    without = replace(bench.context, bundle=broken)
    assert plan_revision(without, revision) == "HELD"
    document = bench.show()
    assert (document["code"], document["words"]) == (
        "model_unusable",
        "the model in force: it was cut short",
    )
    assert document["release"] == "Restore it; the study goes on by itself then"
    attendant = Attendant(without, cast("Any", None), cast("Any", None))
    attendant._release_held(bench.now)
    assert bench.show()["state"] == "HELD"
    Attendant(bench.context, cast("Any", None), cast("Any", None))._release_held(bench.now)
    assert bench.show()["state"] == "SETTLED"
    assert plan_revision(bench.context, revision) == "PLANNED"


def test_a_model_that_breaks_between_plan_and_synthesis_holds_the_study_too(bench: Bench) -> None:  # noqa: F811
    revision = bench.settle()
    plan_revision(bench.context, revision)
    without = replace(bench.context, bundle=broken)
    assert synthesize_revision(without, revision) == "SETTLED"
    assert plan_revision(without, revision) == "HELD"
