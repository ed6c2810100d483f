"""Which protocol a study gets and what it asks for; several candidates for one contrast, ranked with reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_rules.classify import SeriesClass, StackClass, Timing, classify
from dicom_rules.errors import ProtocolError
from dicom_rules.protocols import Plan, PlanRules, plan, protocols_from_toml, shipped_protocols
from tests.unit.dicom_rules.slices import T2_TSE, series
from tests.unit.dicom_rules.test_plan import ABILITIES, one, target

TIMING = Timing(repetition=500, echo=12, inversion=None, flip=90, three_d=False)


def planned(*classes: SeriesClass, content: str = "", **rules: Any) -> Plan:
    protocols = protocols_from_toml(content, source="site.toml") if content else shipped_protocols()
    return plan(list(classes), abilities=ABILITIES, rules=PlanRules(protocols=protocols, **rules))


def role(made: Plan, uid: str) -> tuple[str, str]:
    found = next(role for role in made.series if role.series_uid == uid)
    return found.role, found.reasons[0]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("MRT Schädel Epilepsie-Protokoll", "epilepsy"),
        ("RM ENCEFALO EPILESSIA", "epilepsy"),
        ("Mesial temporal sclerosis", "epilepsy"),
        ("癫痫", "epilepsy"),
        ("IRM sclérose en plaques", "multiple sclerosis"),
        ("RM Esclerosis múltiple", "multiple sclerosis"),
        ("MRT Schlaganfall", "stroke"),
        ("Hirntumor Glioblastom Verlauf GBM", "brain tumour"),
        ("뇌졸중 MRI", "stroke"),
    ],
)
def test_the_request_chooses_the_protocol_in_any_language(words: str, name: str) -> None:
    assert planned(one("T1", procedure_words=(words,)), one("T2")).protocol == name


def test_the_words_and_codes_of_the_request_reach_the_plan() -> None:
    images = series(attributes=T2_TSE, pixels=False)
    code, request = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "24590-2", "LN", "MR Brain"
    request.RequestedProcedureDescription = "Epilepsy work-up"
    for image in images:
        image.RequestAttributesSequence = DicomSequence([request])
        image.ProcedureCodeSequence = DicomSequence([code])
    found = classify(images)
    assert found.procedure_codes == ("LN:24590-2",)
    assert {"Epilepsy work-up", "MR Brain"} <= set(found.procedure_words)
    assert planned(found).protocol == "epilepsy"


SITE = """
[[protocol]]
name = "pituitary"
codes = ["LN:24587-8"]
body_parts = ["Pituitary"]
expects = ["T1", "T1C"]

[[protocol]]
name = "children's ward"
sites = ["^KIDS"]
expects = ["T2"]

[[protocol]]
name = "everything else"
expects = ["T1", "T2", "FLAIR"]
sources = { FLAIR = ["T2"] }
requires = { T1C = ["T1"] }
"""


def test_a_code_a_body_part_or_a_site_calls_for_a_protocol_and_the_plan_says_which() -> None:
    by_code = planned(one("T2", procedure_codes=("LN:24587-8",)), content=SITE)
    assert by_code.protocol == "pituitary"
    assert "the procedure is coded LN:24587-8" in by_code.verdict.words or by_code.to_make
    assert planned(one("T2", body_part="PITUITARY"), content=SITE).protocol == "pituitary"
    ward = planned(one("T2", station="KIDS_MR2"), content=SITE)
    assert (ward.protocol, ward.verdict.state) == ("children's ward", "PLANNED")
    assert 'at "KIDS_MR2"' in ward.verdict.words
    assert planned(one("T2", station="MAIN"), content=SITE).protocol == "everything else"


def test_a_protocol_limits_the_sources_of_a_target_and_what_it_needs() -> None:
    made = planned(one("T1"), one("T2"), content=SITE)
    assert target(made, "FLAIR").sources == ("T2",)
    lacking = planned(one("T2"), content=SITE, allowed=("T1", "T2", "FLAIR", "T1C"))
    assert target(lacking, "T1C").decision == "refuse"
    assert target(lacking, "T1C").reasons[-1] == (
        "The everything else protocol makes T1C only with T1, which is not there."
    )
    assert target(planned(one("T1"), content=SITE, allowed=("T1C",)), "T1C").decision == "make"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('name = "x"\nexpects = ["T1"]\nmatchs = []', 'the key "matchs" is unknown; did you mean matches?'),
        ('name = "x"\nexpects = ["T1"]\ncodes = ["24590-2"]', "is not SCHEME:VALUE"),
        ('name = "x"\nexpects = ["T1"]\nsites = ["("]', "no regular expression"),
        ('name = "x"\nexpects = ["T1"]\nsources = ["T1"]', "sources is not a table of targets"),
        ('name = "x"\nexpects = ["T1"]\nsources = { T9 = ["T1"] }', 'sources names "T9"'),
        ('name = "x"\nexpects = ["T1"]\nsources = { T1 = ["T1"] }', "sources.T1 names T1 itself"),
        ('name = "x"\nexpects = ["T1"]\nrequires = { T1 = [] }', "requires.T1 is empty"),
        (
            '[[protocol]]\nname = "x"\nexpects = ["T1"]\n[[protocol]]\nname = "x"\nexpects = ["T2"]',
            'a second protocol is named "x"',
        ),
        ('title = "y"\n[[protocol]]\nname = "x"\nexpects = ["T1"]', 'the key "title" stands outside'),
    ],
)
def test_a_fault_of_a_sites_file_is_named_with_file_entry_key_and_example(content: str, said: str) -> None:
    with pytest.raises(ProtocolError) as error:
        protocols_from_toml(content, source="site.toml")
    assert said in error.value.reason
    assert error.value.subject.startswith("site.toml")
    assert 'expects = ["T1", "T1C", "T2", "FLAIR"]' in error.value.cure


def test_the_untouched_twin_is_preferred_to_the_vendors_reconstruction() -> None:
    network = one(
        "T1",
        "1.2.1",
        timing=TIMING,
        deep_learning="reconstructed by a network",
        in_plane_mm=0.4,
        acquired_at="2",
    )
    plain = one("T1", "1.2.2", timing=TIMING, acquired_at="1")
    made = planned(network, plain, one("T2"))
    assert made.present["T1"] == "1.2.2"
    assert role(made, "1.2.1") == (
        "candidate",
        'Shows T1 as well, but series "T1 series" is preferred: a network of the vendor reconstructed it, and the '
        "same scan is here untouched.",
    )
    other = replace(plain, timing=replace(TIMING, repetition=900.0))
    assert planned(network, other, one("T2")).present["T1"] == "1.2.1"


def test_of_two_equal_t1_the_earlier_counts_where_an_agent_may_lie_between() -> None:
    first = one("T1", "1.2.1", timing=TIMING, acquired_at="20240101100000")
    second = one("T1", "1.2.2", timing=TIMING, acquired_at="20240101103000")
    made = planned(first, second, one("T2"))
    assert made.present["T1"] == "1.2.1"
    assert "nothing says whether an agent was given between" in role(made, "1.2.2")[1]
    assert planned(first, replace(second, repeat=True), one("T2")).present["T1"] == "1.2.2"
    moved = replace(first, motion=True)
    assert planned(moved, second, one("T2")).present["T1"] == "1.2.2"


def test_a_mixed_series_counts_for_every_contrast_that_its_stacks_show() -> None:
    adc = StackClass(
        label="ImageType ADC",
        images=20,
        contrast="ADC",
        kind="diffusion",
        confidence=0.97,
        usable=True,
        evidence=("ImageType names it.",),
    )
    trace = replace(adc, label="b = 1000 s/mm2", contrast="DWI", speaks=True)
    mixed = one("DWI", "1.2.7", kind="diffusion", stacks=(trace, adc))
    made = planned(mixed, one("T1"), one("T2"), one("FLAIR"))
    assert (made.present["DWI"], made.present["ADC"]) == ("1.2.7", "1.2.7")
    (only,) = [role for role in made.series if role.series_uid == "1.2.7"]
    assert only.role == "present"
    assert {"Counts as DWI.", "Counts as ADC."} <= set(only.reasons)
    assert "Stack of ImageType ADC." in only.reasons
    unusable = replace(mixed, stacks=(trace, replace(adc, usable=False)))
    assert "ADC" not in planned(unusable, one("T1")).present


def test_a_study_whose_body_part_nothing_states_is_refused_in_words() -> None:
    unstated = classify(series(attributes={**T2_TSE, "BodyPartExamined": ""}, pixels=False))
    made = planned(unstated)
    assert (made.verdict.state, made.verdict.code) == ("REFUSED", "body_part_unstated")
    assert role(made, unstated.series_uid)[0] == "unusable"
