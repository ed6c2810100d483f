"""The images as second opinion: they may object, never decide."""

from __future__ import annotations

import pytest

from dicom_rules.classify import ClassifyRules, SeriesClass, classify, with_image_votes
from dicom_rules.errors import ClassifyError
from dicom_rules.protocols import Abilities, PlanRules, plan
from tests.unit.dicom_rules.slices import T1_SE, T2_TSE, series

ABILITIES = Abilities(contrasts=("T1", "T2", "FLAIR"))


def t2(**more: str) -> SeriesClass:
    return classify(series(attributes={**T2_TSE, **more}, pixels=False), pixels_blank=False)


def test_agreement_is_said_and_changes_nothing() -> None:
    (one,) = with_image_votes(
        [found := t2()], {found.series_uid: {"T2": 0.9, "T1": 0.1}}, on_disagreement="hold"
    )
    assert (one.contrast, one.usable, one.doubt, one.confidence) == ("T2", True, "", found.confidence)
    assert one.evidence[-1] == "The images agree: they look like T2 (0.90)."


def test_a_clear_objection_holds_the_study_and_names_the_rule_that_releases_it() -> None:
    found = t2(SeriesDescription="AX T2")
    t1 = classify(series(attributes=T1_SE, pixels=False), pixels_blank=False)
    votes = {found.series_uid: {"FLAIR": 0.95, "T2": 0.02}}
    classes = with_image_votes([found, t1], votes, on_disagreement="hold")
    assert (classes[0].contrast, classes[0].usable) == ("T2", True)
    made = plan(classes, abilities=ABILITIES, rules=PlanRules())
    assert (made.verdict.state, made.verdict.code) == ("HELD", "image_disagrees")
    assert 'series "AX T2": the images look like FLAIR (0.95), not like T2 (0.02)' in made.verdict.words
    assert "classification.overrides" in made.verdict.release
    assert "T2" not in made.present


def test_a_clear_objection_excludes_the_series_where_the_site_says_so() -> None:
    found = t2()
    votes = {found.series_uid: {"FLAIR": 0.95, "T2": 0.02}}
    (one,) = with_image_votes([found], votes, on_disagreement="exclude")
    assert (one.usable, one.unusable_because) == (False, "image_disagrees")
    assert "look like FLAIR (0.95)" in one.evidence[-1]
    assert plan([one], abilities=ABILITIES, rules=PlanRules()).verdict.state == "REFUSED"


@pytest.mark.parametrize("vote", [{"FLAIR": 0.55, "T2": 0.02}, {"FLAIR": 0.9, "T2": 0.1}])
def test_a_vote_that_is_not_clear_is_no_objection(vote: dict[str, float]) -> None:
    (one,) = with_image_votes([found := t2()], {found.series_uid: vote}, on_disagreement="hold")
    assert (one.usable, one.doubt) == (True, "")
    assert one.evidence[-1].startswith("The images are no clear second opinion")


def test_t1_before_and_after_an_agent_never_contradict_each_other() -> None:
    found = classify(series(attributes=T1_SE, pixels=False), pixels_blank=False)
    vote = {found.series_uid: {"T1C": 0.99, "T1": 0.0, "T2": 0.01}}
    (one,) = with_image_votes([found], vote, on_disagreement="hold")
    assert (one.contrast, one.doubt) == ("T1", "")
    shared = {found.series_uid: {"T2": 0.9, "T1": 0.04, "T1C": 0.04}}
    assert with_image_votes([found], shared, on_disagreement="hold")[0].doubt == ""
    split = {(other := t2()).series_uid: {"T1": 0.36, "T1C": 0.34, "FLAIR": 0.28, "T2": 0.02}}
    assert (
        "look like T1 (0.70), not like T2"
        in with_image_votes([other], split, on_disagreement="hold")[0].doubt
    )


def test_images_that_are_not_asked_change_nothing() -> None:
    found = t2()
    vote = {found.series_uid: {"FLAIR": 1.0}}
    assert with_image_votes([found], vote, on_disagreement="ignore") == (found,)
    assert with_image_votes([found], {}, on_disagreement="hold") == (found,)


def test_neither_a_sites_own_word_nor_an_unusable_series_is_questioned() -> None:
    rules = ClassifyRules.from_mappings([{"description": "odd", "contrast": "FLAIR"}])
    said = classify(
        series(attributes={**T2_TSE, "SeriesDescription": "odd"}, pixels=False),
        pixels_blank=False,
        overrides=rules,
    )
    blank = classify(series(pixels=False), pixels_blank=True)
    votes = {one.series_uid: {"T1": 1.0} for one in (said, blank)}
    assert with_image_votes([said, blank], votes, on_disagreement="hold") == (said, blank)


@pytest.mark.parametrize("vote", [{"T9": 0.5}, {"T2": 1.5}, {"T2": float("nan")}])
def test_what_is_no_probability_of_a_contrast_is_refused(vote: dict[str, float]) -> None:
    found = t2()
    with pytest.raises(ClassifyError) as error:
        with_image_votes([found], {found.series_uid: vote}, on_disagreement="hold")
    assert error.value.code == "bad_vote"


def test_another_word_for_what_follows_is_refused() -> None:
    with pytest.raises(ClassifyError) as error:
        with_image_votes([], {}, on_disagreement="shrug")
    assert "hold, exclude, ignore" in error.value.cure
