"""The conformance statement says what the node does, and cannot say what it does not."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import ALL_TRANSFER_SYNTAXES

import dicom_rules.derive
from dicom_rules.conformance import MADE, contents, to_markdown
from dicom_rules.conformance.markdown import table
from medk2n_node.cli import main
from medk2n_node.cli.conformance import document_of
from medk2n_node.config import RESULT_KINDS, Config
from medk2n_node.listener import negotiation, statuses
from tests.unit.derive.cases import make_case

EXAMPLES = Path(dicom_rules.__file__).parent / "conformance" / "examples.py"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of(Config())


@pytest.fixture(scope="module")
def page(document: dict[str, Any]) -> str:
    return to_markdown(document)


def rows_of(document: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The top-level attributes of an object, by tag."""
    (found,) = (one for one in document["objects"] if one["kind"] == kind)
    return {row["tag"]: row for row in found["attributes"] if row["depth"] == 0}


def test_every_encoder_has_an_object_in_the_statement() -> None:
    encoders = {
        name for name in dicom_rules.derive.__all__ if name.startswith("encode") or name == "enhanced"
    }
    imported = {
        alias.name
        for node in ast.walk(ast.parse(EXAMPLES.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "dicom_rules.derive"
        for alias in node.names
    }
    assert encoders <= imported


def test_every_kind_of_result_that_can_be_configured_is_in_the_statement(document: dict[str, Any]) -> None:
    kinds = {one["kind"] for one in document["objects"]}
    assert kinds == {*RESULT_KINDS, "enhanced"} == {made.kind for made in MADE}


def test_the_objects_are_what_they_say(document: dict[str, Any]) -> None:
    names = {one["kind"]: one["sop_class_name"] for one in document["objects"]}
    assert names == {
        "series": "MR Image Storage",
        "enhanced": "Enhanced MR Image Storage",
        "uncertainty": "Parametric Map Storage",
        "report": "Comprehensive 3D SR Storage",
        "overlay": "Grayscale Softcopy Presentation State Storage",
        "summary": "Secondary Capture Image Storage",
        "rejection": "Key Object Selection Document Storage",
    }


def test_an_attribute_is_told_copied_fixed_empty_or_generated(document: dict[str, Any]) -> None:
    rows = rows_of(document, "series")
    expected = {
        "(0010,0010)": ("ALWAYS", "COPIED", ""),
        "(0010,1010)": ("ANAP", "COPIED", ""),
        "(0012,0063)": ("ANAP", "COPIED", ""),
        "(0008,001C)": ("ALWAYS", "FIXED", "YES"),
        "(0008,0008)": ("ALWAYS", "FIXED", "DERIVED\\SECONDARY\\OTHER\\SYNTHETIC"),
        "(0018,0080)": ("ALWAYS", "EMPTY", ""),
        "(0020,0032)": ("ALWAYS", "COPIED", ""),
        "(0020,0052)": ("ALWAYS", "COPIED", ""),
        "(0020,000E)": ("ALWAYS", "AUTO", ""),
        "(0008,2112)": ("ALWAYS", "ITEMS", ""),
    }
    found = {tag: (rows[tag]["presence"], rows[tag]["source"], rows[tag]["value"]) for tag in expected}
    assert found == expected
    assert rows["(0008,103E)"]["value"] == "e.g. SYNTHETIC FLAIR (AI) - not acquired"


def test_a_real_result_holds_no_attribute_that_the_statement_does_not_name(document: dict[str, Any]) -> None:
    rows = rows_of(document, "series")
    for one in make_case().encode():
        for element in one:
            tag = f"({element.tag.group:04X},{element.tag.element:04X})"
            assert tag in rows, f"{tag} {element.name}"
            if rows[tag]["source"] == "FIXED" and element.VM == 1 and len(str(element.value)) < 60:
                assert str(element.value) in rows[tag]["value"] or tag in ("(0028,0101)", "(0028,0102)")


def test_contents_tell_items_apart_from_the_data_set() -> None:
    made, source = Dataset(), Dataset()
    item = Dataset()
    item.CodeValue = "109100"
    made.PurposeOfReferenceCodeSequence = [item]
    rows = contents([(source, made), (source, made)])
    assert [(row.depth, row.tag, row.source) for row in rows] == [
        (0, "(0040,A170)", "ITEMS"),
        (1, "(0008,0100)", "FIXED"),
    ]


def test_what_the_statement_accepts_is_what_the_negotiation_accepts(document: dict[str, Any]) -> None:
    contexts = document["networking"]["acceptor"]["presentation_contexts"]
    assert len(contexts) > 150
    for context in contexts:
        sop_class = context["sop_class"]["uid"]
        named = [syntax["uid"] for syntax in context["transfer_syntaxes"]]
        assert negotiation.is_taken(sop_class)
        for syntax in ALL_TRANSFER_SYNTAXES:
            taken = negotiation.choose_transfer_syntax(sop_class, [str(syntax)]) is not None
            assert taken == (str(syntax) in named), f"{sop_class} {syntax.name}"


def test_every_status_that_the_listener_can_answer_is_listed(document: dict[str, Any]) -> None:
    constants = {
        f"{value:04X}" for name, value in vars(statuses).items() if name.isupper() and isinstance(value, int)
    }
    assert {one["code"] for one in document["networking"]["acceptor"]["statuses"]} == constants


def test_every_rejection_carries_the_numbers_that_go_over_the_wire(document: dict[str, Any]) -> None:
    found = [
        (one["result"], one["source"], one["reason"])
        for one in document["networking"]["acceptor"]["rejections"]
    ]
    assert found == [(1, 1, 3), (1, 1, 7), (1, 1, 2), (2, 3, 2), (2, 3, 1)]


def test_the_stance_on_storage_commitment_is_stated(page: str) -> None:
    assert "no provider of storage commitment" in page
    assert "must not delete its images because the node has received them" in page


def test_the_attributes_that_the_rules_read_are_listed_with_their_use(document: dict[str, Any]) -> None:
    used = {one["keyword"]: one["used_for"] for one in document["attributes_used"]}
    assert "classification" in used["EchoTime"]
    assert "geometry" in used["ImagePositionPatient"]
    assert "filing" in used["StudyInstanceUID"]
    assert "study" in used["SeriesNumber"]
    assert "results" in used["PatientName"]
    assert "(0019,100C) SIEMENS MR HEADER" in document["private_attributes_used"]


def test_the_page_has_the_sections_of_ps3_2_in_order(page: str) -> None:
    headings = [line.lstrip("# ") for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        "1 Overview",
        "2 Introduction",
        "3 Networking",
        "4 Media interchange",
        "5 Character sets",
        "6 Security",
        "7 Annexes",
    ]
    for heading in ("### 1.1 Network services", "#### 3.2.4 Storage commitment", "### 3.4 Configuration"):
        assert heading in page


def test_every_table_has_as_many_cells_as_its_head(page: str) -> None:
    wide = 0
    for line in page.splitlines():
        if not line.startswith("|"):
            wide = 0
            continue
        cells = len(line.replace("\\|", "").split("|")) - 2
        assert cells == (wide or cells), line
        wide = cells


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["a"], [["x|y"], [True], [None]]).splitlines()[2:] == ["| x\\|y |", "| yes |", "|  |"]


def test_a_site_finds_its_own_configuration_in_the_statement(tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "node": {
                "ae_title": "SITE",
                "port": 104,
                "tls_port": 2762,
                "tls_certificate": "a",
                "tls_key": "b",
            },
            "peers": [{"ae_title": "MR1", "hosts": ["10.0.0.0/24"]}],
            "destinations": [
                {"name": "pacs", "ae_title": "PACS", "host": "10.0.0.9", "port": 11112, "send": ["series"]}
            ],
            "results": {"overlay": True},
        }
    )
    page = to_markdown(document_of(config))
    assert "| AE title | SITE |" in page
    assert "| caller |  | MR1 | 10.0.0.0/24 | no |  |" in page
    assert "| destination | pacs | PACS | 10.0.0.9:11112 | no | series |" in page
    assert "A second port speaks TLS; client certificates are not asked for." in page
    document = document_of(config)
    made = {
        one["kind"]: one["made_as_configured"]
        for one in document["networking"]["initiator"]["presentation_contexts"]
    }
    assert made["overlay"] is True
    assert made["rejection"] is False


def test_the_command_prints_the_page_or_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# DICOM Conformance Statement\n")
    assert main(["conformance", "--json"]) == 0
    assert to_markdown(json.loads(capsys.readouterr().out)) == page
