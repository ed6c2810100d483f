"""Vendors, fields and languages that no row of the measured table has: physics and words must carry over."""

from __future__ import annotations

from typing import Any

import pytest

from dicom_rules.classify import SeriesClass, classify
from tests.unit.dicom_rules.protocols_of_other_sites import OTHERS, TARGETS
from tests.unit.dicom_rules.slices import FLAIR_TSE, T1_SE, T2_TSE, series


def of(attributes: dict[str, Any], **more: Any) -> SeriesClass:
    merged = {keyword: value for keyword, value in {**attributes, **more}.items() if value is not None}
    return classify(series(attributes=merged, count=3, pixels=False))


@pytest.mark.parametrize("protocol", list(TARGETS))
def test_a_published_protocol_is_recognised_without_any_name(protocol: str) -> None:
    attributes, contrast = TARGETS[protocol]
    found = of(attributes)
    assert (found.contrast, found.usable) == (contrast, True), found.evidence
    assert found.confidence >= 0.6


@pytest.mark.parametrize("protocol", list(OTHERS))
def test_a_published_protocol_of_another_kind_is_given_no_contrast(protocol: str) -> None:
    found = of(OTHERS[protocol])
    assert (found.contrast, found.usable) == (None, False), found.evidence
    assert found.evidence


AFTER_AGENT = (
    "T1 nach KM", "t1_se_tra_KM", "T1 mit Kontrastmittel", "T1 après injection", "T1 GADO", "T1 injecté",
    "T1 con contraste", "T1 con gadolinio", "T1 post contraste", "T1 造影後", "T1WI 造影", "T1增强", "T1 조영후",
    "T1 조영증강", "T1 с контрастом", "T1+C tra", "T1W +KM", "T1 Gd-DTPA",
)  # fmt: skip
BEFORE_AGENT = (
    "T1 nativ", "T1 ohne KM", "T1 vor KM", "T1 prä KM", "T1 sans injection", "T1 avant injection", "T1 sin contraste",
    "T1 sem contraste", "T1 単純", "T1 造影前", "T1 平扫", "T1 增强前", "T1 조영전", "T1 비조영", "T1 без контраста",
)  # fmt: skip


@pytest.mark.parametrize("name", AFTER_AGENT)
def test_an_agent_is_read_in_the_language_of_the_site(name: str) -> None:
    assert of(T1_SE, SeriesDescription=name).contrast == "T1C"


@pytest.mark.parametrize("name", BEFORE_AGENT)
def test_the_absence_of_an_agent_is_read_in_the_language_of_the_site(name: str) -> None:
    assert of(T1_SE, SeriesDescription=name).contrast == "T1"


KINDS = (
    ("Lokalisierer", "localizer"), ("Übersicht", "localizer"), ("Repérage", "localizer"),
    ("localizador", "localizer"), ("位置決め画像", "localizer"), ("定位像", "localizer"), ("로컬라이저", "localizer"),
    ("Angiographie", "angiography"), ("Flussmessung", "angiography"), ("MRアンギオ", "angiography"),
    ("脑血管", "angiography"), ("Perfusion cérébrale", "perfusion"), ("灌注成像", "perfusion"),
    ("磁敏感加权", "susceptibility"), ("Subtraktion", "derived"), ("soustraction", "derived"),
    ("sustracción", "derived"), ("減算", "derived"), ("Spektroskopie", "other"), ("합성", "synthetic"),
    ("合成T1", "synthetic"), ("B0 Karte", "fieldmap"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_another_kind_is_read_in_the_language_of_the_site(name: str, kind: str) -> None:
    gradient_echo = {**T1_SE, "ScanningSequence": "GR", "RepetitionTime": 200, "EchoTime": 4, "FlipAngle": 80}
    assert of(gradient_echo).contrast == "T1"
    found = of(gradient_echo, SeriesDescription=name)
    assert (found.contrast, found.kind) == (None, kind)


ELSEWHERE = (
    "MR Kniegelenk links", "MRT HWS", "MRT Lendenwirbelsäule", "Leber nativ", "MR Herz", "IRM rachis lombaire",
    "IRM épaule", "IRM genou", "RM columna cervical", "RM rodilla", "RM hígado", "頚椎MRI", "膝関節", "心臓",
    "颈椎平扫", "前列腺增强", "肝脏", "경추 MRI", "무릎", "전립선", "유방",
)  # fmt: skip
HEADS = (
    "MRT Schädel", "MR Kopf", "Schaedel nativ", "IRM cérébrale", "IRM encéphale", "RM cerebral", "RM cráneo",
    "頭部MRI", "脳MRI", "颅脑MRI", "头颅平扫", "뇌 MRI", "두부 MRI", "МРТ головного мозга",
)  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_examination_of_another_part_is_read_in_the_language_of_the_site(name: str) -> None:
    found = of(T2_TSE, BodyPartExamined=None, StudyDescription=name)
    assert (found.contrast, found.unusable_because) == (None, "not_head")


@pytest.mark.parametrize("name", HEADS)
def test_an_examination_of_the_head_is_read_in_the_language_of_the_site(name: str) -> None:
    assert of(T2_TSE, BodyPartExamined=None, StudyDescription=name).usable


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("T2 Dark Fluid tra", "FLAIR"),
        ("フレア", "FLAIR"),
        ("플레어", "FLAIR"),
        ("压水像", "FLAIR"),
        ("T2強調", "T2"),
        ("T2加权", "T2"),
        ("T2 강조", "T2"),
        ("pondéré T2", "T2"),
        ("potenciado en T2", "T2"),
        ("Ｔ２ＷＩ", "T2"),
    ],
)
def test_a_tie_is_broken_by_a_name_in_any_language(name: str, contrast: str) -> None:
    tie = {
        "FLAIR": {**FLAIR_TSE, "ScanningSequence": "SE", "InversionTime": None},
        "T2": {**T2_TSE, "ScanningSequence": "RM"},
    }[contrast]
    found = of(tie, SeriesDescription=name)
    assert (found.contrast, found.confidence) == (contrast, 0.6)
