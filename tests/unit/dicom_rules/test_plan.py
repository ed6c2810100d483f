"""The plan of a study: present, targets, sources, key, reference and verdict, with a sentence for each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dicom_rules.classify import SeriesClass
from dicom_rules.errors import ProtocolError
from dicom_rules.protocols import (
    Abilities,
    Plan,
    PlanRules,
    Problem,
    TargetPlan,
    plan,
    protocols_from_toml,
    shipped_protocols,
)

PREFERENCE = {
    "T1": {"T1C": 20.5, "T2": 17.3, "FLAIR": 14.6},
    "T1C": {"T1": 21.0, "T2": 17.0, "FLAIR": 15.0},
    "T2": {"T1": 16.0, "T1C": 15.0, "FLAIR": 16.7},
    "FLAIR": {"T1": 15.0, "T1C": 15.5, "T2": 16.9},
}
ABILITIES = Abilities(contrasts=("T1", "T1C", "T2", "FLAIR"), key_preference=PREFERENCE)


def one(contrast: str | None, uid: str = "", **more: Any) -> SeriesClass:
    """A whole-brain axial series of this contrast."""
    values: dict[str, Any] = {
        "study_uid": "1.2",
        "series_uid": uid or f"1.2.{contrast}",
        "description": f"{contrast} series",
        "contrast": contrast,
        "kind": "structural",
        "plane": "axial",
        "confidence": 0.95,
        "instances": 30,
        "usable": contrast is not None,
        "evidence": (f"It is {contrast}.",),
        "unusable_because": None if contrast else "no_contrast",
        "in_plane_mm": 0.9,
        "slice_spacing_mm": 5.0,
        "coverage_mm": 150.0,
        "acquired_at": "20240101120000",
    }
    return SeriesClass(**{**values, **more})


def planned(
    *classes: SeriesClass, rules: PlanRules | None = None, problems: tuple[Problem, ...] = ()
) -> Plan:
    return plan(list(classes), abilities=ABILITIES, rules=rules or PlanRules(), problems=problems)


def target(made: Plan, contrast: str) -> TargetPlan:
    return next(one for one in made.targets if one.contrast == contrast)


def test_a_study_that_lacks_flair_alone_makes_flair() -> None:
    made = planned(one("T1"), one("T2"))
    flair = target(made, "FLAIR")
    assert (flair.decision, flair.sources, flair.key, flair.risk) == ("make", ("T1", "T2"), "T2", "standard")
    assert [one.contrast for one in made.to_make] == ["FLAIR"]
    assert made.reference == "T2"
    assert made.verdict.state == "PLANNED"
    assert "FLAIR from T1 and T2" in made.verdict.words
    assert flair.reasons[0] == "FLAIR is missing and the general brain protocol expects it."


def test_the_json_is_the_contract_and_every_series_and_target_has_a_sentence() -> None:
    made = planned(one("T1"), one("T2"), one(None, "1.2.9", kind="localizer", evidence=("A scout.",)))
    document = json.loads(json.dumps(made.to_json()))
    assert document["present"] == {"T1": "1.2.T1", "T2": "1.2.T2"}
    assert set(document["targets"][0]) == {"contrast", "sources", "key", "decision", "reasons", "risk"}
    assert {one["decision"] for one in document["targets"]} <= {"make", "skip", "refuse", "hold"}
    assert all(one["reasons"] and all(r.endswith(".") for r in one["reasons"]) for one in document["targets"])
    assert {one["series_uid"]: one["role"] for one in document["series"]} == {
        "1.2.T1": "source",
        "1.2.T2": "source",
        "1.2.9": "ignored",
    }
    assert all(one["reasons"] for one in document["series"])
    assert set(document["verdict"]) == {"state", "code", "words", "release"}


def test_a_high_risk_target_is_refused_with_the_key_that_enables_it() -> None:
    made = planned(one("T1"), one("T2"))
    t1c = target(made, "T1C")
    assert (t1c.decision, t1c.risk) == ("refuse", "high")
    assert "naming T1C in targets.allowed" in t1c.reasons[-1]


def test_a_high_risk_target_named_in_allowed_is_made_and_said_to_be() -> None:
    made = planned(one("T1"), one("T2"), one("FLAIR"), rules=PlanRules(allowed=("T1", "T2", "FLAIR", "T1C")))
    t1c = target(made, "T1C")
    assert (t1c.decision, t1c.key, t1c.risk) == ("make", "T1", "high")
    assert "was enabled in targets.allowed" in t1c.reasons[3]


def test_nothing_missing_is_complete() -> None:
    made = planned(one("T1"), one("T2"), one("FLAIR"))
    assert (made.verdict.state, made.verdict.code) == ("COMPLETE", "nothing_missing")
    assert made.to_make == ()
    assert made.reference is None


@pytest.mark.parametrize("reason", ["not_head", "blank_pixels", "localizer", "geometry", "synthetic"])
def test_a_study_without_any_usable_series_is_refused_with_the_reason(reason: str) -> None:
    made = planned(one(None, usable=False, unusable_because=reason, evidence=("Because of this.",)))
    assert (made.verdict.state, made.verdict.code) == ("REFUSED", reason)
    assert "Because of this" in made.verdict.words
    assert target(made, "FLAIR").decision == "refuse"


def test_an_empty_study_is_refused() -> None:
    assert planned().verdict.code == "no_series"


def test_blank_images_give_the_reason_even_among_localizers() -> None:
    blank = one("T1", usable=False, unusable_because="blank_pixels")
    scouts = [one(None, f"1.2.{n}", unusable_because="localizer") for n in range(3)]
    made = planned(blank, *scouts)
    assert made.verdict.code == "blank_pixels"
    assert "3 a localizer" in made.verdict.words


def test_a_problem_of_the_whole_study_holds_it() -> None:
    problem = Problem(code="two_patients", words="two patients under one study UID", release="Correct it")
    made = planned(one("T1"), one("T2"), problems=(problem,))
    assert (made.verdict.state, made.verdict.code, made.verdict.release) == (
        "HELD",
        "two_patients",
        "Correct it",
    )
    assert target(made, "FLAIR").decision == "hold"
    assert made.to_make == ()


def test_unusable_series_do_not_count_as_present() -> None:
    made = planned(
        one("T1"), one("T2"), one("FLAIR", usable=False, kind="derived", unusable_because="derived")
    )
    assert "FLAIR" not in made.present
    assert target(made, "FLAIR").decision == "make"


def test_the_result_lies_on_an_axial_grid_rather_than_on_thick_sagittal_slices() -> None:
    made = planned(one("T1", plane="axial"), one("T2", plane="sagittal", slice_spacing_mm=5.0))
    assert target(made, "FLAIR").key == "T2"
    assert made.reference == "T1"
    assert "not of T2, whose slices are thick" in target(made, "FLAIR").reasons[-1]


def test_a_thin_sagittal_key_keeps_its_own_grid() -> None:
    made = planned(one("T1"), one("T2", plane="3d", slice_spacing_mm=1.0))
    assert made.reference == "T2"


def test_of_several_candidates_the_best_counts_and_the_others_are_told_why() -> None:
    made = planned(
        one("T1", "1.2.1", slice_spacing_mm=1.0, plane="3d"),
        one("T1", "1.2.2", plane="sagittal"),
        one("T1", "1.2.3", motion=True),
        one("T2"),
    )
    assert made.present["T1"] == "1.2.1"
    reasons = {role.series_uid: (role.role, role.reasons[0]) for role in made.series}
    assert reasons["1.2.2"] == (
        "candidate",
        'Shows T1 as well, but series "T1 series" is preferred: its sagittal slices are thick.',
    )
    assert "moved" in reasons["1.2.3"][1]
    assert any("the best of 3 candidates" in reason for role in made.series for reason in role.reasons)


def test_of_two_equal_scans_the_later_counts() -> None:
    made = planned(
        one("T1", "1.2.1", acquired_at="20240101120000"), one("T1", "1.2.2", acquired_at="20240101123000")
    )
    assert made.present["T1"] == "1.2.2"


def test_a_t2_before_the_agent_is_preferred_to_one_after() -> None:
    made = planned(one("T2", "1.2.1", agent=True, acquired_at="2"), one("T2", "1.2.2", acquired_at="1"))
    assert made.present["T2"] == "1.2.2"


def test_a_slab_is_no_examination_of_the_brain() -> None:
    made = planned(one("T1"), one("T2", coverage_mm=24.0))
    assert "T2" not in made.present
    assert "covers only 24 mm" in next(role for role in made.series if role.series_uid == "1.2.T2").reasons[0]


def test_weak_evidence_is_not_used() -> None:
    made = planned(one("T1"), one("T2", confidence=0.4))
    assert "T2" not in made.present


def test_a_series_that_is_named_like_the_target_but_not_confirmed_holds_the_study() -> None:
    made = planned(one("T1"), one("T2"), one(None, "1.2.9", description="FLAIR ?", named="FLAIR"))
    assert target(made, "FLAIR").decision == "hold"
    assert made.verdict.state == "HELD"
    assert "classification.overrides" in made.verdict.release


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("MRI BRAIN TUMOR FOLLOW UP", "brain tumour"),
        ("RM CEREBRALE NEURONAVIGATORE CON MDC", "brain tumour"),
        ("Stroke protocol", "stroke"),
        ("頭部MRI 脳梗塞", "stroke"),
        ("MS follow-up: multiple sclerosis", "multiple sclerosis"),
        ("MRI HEAD", "general brain"),
    ],
)
def test_the_names_of_the_study_choose_the_protocol(words: str, name: str) -> None:
    assert planned(one("T1", study_description=words), one("T2")).protocol == name


def test_a_tumour_study_that_lacks_only_t1c_is_refused_as_high_risk() -> None:
    made = planned(one("T1", study_description="GLIOMA"), one("T2"), one("FLAIR"))
    assert (made.verdict.state, made.verdict.code) == ("REFUSED", "high_risk")
    assert "T1C" in made.verdict.release


def test_a_contrast_that_the_model_cannot_make_is_refused() -> None:
    made = planned(one("T1"), one("T2"), rules=PlanRules(allowed=("T1", "T2", "FLAIR", "ADC")))
    assert target(made, "ADC").reasons[-1] == "The model in force cannot make ADC."


def test_too_few_sources_are_refused() -> None:
    made = planned(one("T1"), rules=PlanRules(min_sources=2))
    assert target(made, "FLAIR").decision == "refuse"
    assert made.verdict.state == "REFUSED"


def test_the_plan_does_not_depend_on_the_order_of_the_series() -> None:
    classes = [one("T1", "1.2.1"), one("T1", "1.2.2"), one("T2"), one(None, "1.2.9")]
    assert planned(*classes) == planned(*classes[::-1])


def test_a_sites_protocols_are_read_and_the_shipped_ones_are_valid() -> None:
    content = '[[protocol]]\nname = "epilepsy"\nmatches = ["EPILEPSY"]\nexpects = ["T1", "FLAIR"]\n'
    (protocol,) = protocols_from_toml(content, source="site.toml")
    assert (protocol.name, protocol.matches, protocol.expects) == ("epilepsy", ("epilepsy",), ("T1", "FLAIR"))
    made = planned(one("T1", study_description="epilepsy"), rules=PlanRules(protocols=(protocol,)))
    assert made.protocol == "epilepsy"
    assert {one.name for one in shipped_protocols()} == {
        "general brain",
        "brain tumour",
        "stroke",
        "epilepsy",
        "multiple sclerosis",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name = ", "no valid TOML"),
        ('name = "x"\nexpects = ["T9"]', 'expects names "T9"'),
        ('name = "x"\nexpects = []', "expects is empty"),
        ('expects = ["T1"]', "it has no name"),
        ('name = "x"\nexpects = "T1"', "expects is not a list"),
        ('name = "x"\nexpects = ["T1"]\nmatch = ["a"]', 'the key "match" is unknown'),
    ],
)
def test_a_wrong_protocol_is_refused_with_a_valid_example(content: str, said: str) -> None:
    with pytest.raises(ProtocolError) as error:
        protocols_from_toml(content, source="site.toml")
    assert said in error.value.reason
    assert "A valid protocol is" in error.value.cure
