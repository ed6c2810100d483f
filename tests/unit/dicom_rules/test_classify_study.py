"""Series in the light of their study: the body part by a neighbour, the agent by the order of the scans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dicom_rules.classify import SeriesClass, are_twins, classify, in_their_study
from tests.unit.dicom_rules.slices import FLAIR_TSE, SAGITTAL, T1_SE, T2_TSE, series


def of(attributes: dict[str, Any], at: str = "", **more: Any) -> SeriesClass:
    """The class of a stack acquired at this time of one day."""
    values = {**attributes, **more}
    if at:
        values |= {"AcquisitionDate": "20240101", "AcquisitionTime": at}
    return classify(series(attributes=values, pixels=False))


def test_a_t1_after_a_series_with_a_stated_agent_is_t1c() -> None:
    before = of(T1_SE, "100000", SeriesDescription="T1 axial A")
    t2 = of(T2_TSE, "100500", ContrastBolusAgent="Gadovist", SeriesDescription="T2 axial")
    after = of(T1_SE, "101000", SeriesDescription="T1 axial B")
    found = in_their_study([after, before, t2])
    assert [one.contrast for one in found] == ["T1C", "T1", "T2"]
    assert found[0].evidence[-1] == 'It was acquired after "T2 axial", which states a contrast agent: T1C.'
    assert found[0].confidence < after.confidence
    assert found[1].evidence[-1] == "It was acquired before the first series that states a contrast agent."
    assert found[1].agent is False


def test_a_twin_in_a_study_with_and_without_agent_is_t1c() -> None:
    words = {"StudyDescription": "MRI BRAIN W WO CONTRAST"}
    before = of(T1_SE, "100000", SeriesDescription="AX T1", **words)
    after = of({**T1_SE, "RepetitionTime": 510}, "103000", SeriesDescription="AX T1", **words)
    found = in_their_study([before, after])
    assert [one.contrast for one in found] == ["T1", "T1C"]
    assert 'repeats "AX T1" with the same parameters, and the study is named "W WO"' in found[1].evidence[-1]


def test_a_twin_without_any_word_of_an_agent_stays_t1_and_says_what_is_not_known() -> None:
    before, after = of(T1_SE, "100000", SeriesDescription="AX T1"), of(T1_SE, "103000")
    found = in_their_study([before, after])
    assert [one.contrast for one in found] == ["T1", "T1"]
    assert "nothing says whether an agent was given between" in found[1].evidence[-1]


@pytest.mark.parametrize(
    "second",
    [
        of({**T1_SE, "RepetitionTime": 700}, "103000", StudyDescription="BRAIN W WO"),
        of(T1_SE, "103000", StudyDescription="BRAIN W WO", SeriesDescription="AX T1 RPT"),
        of(T1_SE, "103000", StudyDescription="BRAIN W WO", SeriesDescription="AX T1 ohne KM"),
        of(T1_SE, StudyDescription="BRAIN W WO"),
    ],
    ids=["another protocol", "a named repeat", "says itself that none was given", "no time"],
)
def test_what_is_no_later_twin_stays_t1(second: SeriesClass) -> None:
    first = of(T1_SE, "100000", StudyDescription="BRAIN W WO")
    assert in_their_study([first, second])[1].contrast == "T1"


def test_twins_differ_in_nothing_that_the_protocol_sets() -> None:
    one = of(T1_SE)
    assert are_twins(one, of({**T1_SE, "RepetitionTime": 510}))
    assert not are_twins(one, of({**T1_SE, "EchoTime": 20}))
    assert not are_twins(one, of({**T1_SE, "FlipAngle": 70}))
    assert not are_twins(one, replace(of(T1_SE), plane="sagittal"))
    assert not are_twins(one, one)


def test_a_neighbour_that_states_a_head_frees_what_was_withheld() -> None:
    unstated = {"BodyPartExamined": ""}
    sagittal = classify(
        series(
            attributes={**T2_TSE, **unstated, "SeriesDescription": "s"}, orientation=SAGITTAL, pixels=False
        )
    )
    axial = of({**T2_TSE, **unstated})
    head = of(FLAIR_TSE, SeriesDescription="AX FLAIR")
    assert (sagittal.contrast, axial.usable) == (None, False)
    freed = in_their_study([sagittal, axial, head])
    assert [(one.contrast, one.usable) for one in freed] == [("T2", True), ("T2", True), ("FLAIR", True)]
    assert freed[0].evidence[-1] == 'Another series of the study ("AX FLAIR") states a head.'


def test_a_study_of_head_and_spine_frees_nothing() -> None:
    axial = of({**T2_TSE, "BodyPartExamined": ""})
    head, spine = of(FLAIR_TSE), of(T2_TSE, BodyPartExamined="CSPINE")
    assert in_their_study([axial, head, spine])[0].unusable_because == "body_part_unstated"


def test_the_order_of_the_series_does_not_matter() -> None:
    classes = [
        of(T1_SE, "100000"),
        of(T1_SE, "103000"),
        of(T2_TSE, "102000", ContrastBolusAgent="Dotarem"),
        of({**T2_TSE, "BodyPartExamined": ""}),
    ]
    forwards = in_their_study(classes)
    backwards = in_their_study(classes[::-1])
    assert list(forwards) == list(backwards)[::-1]
