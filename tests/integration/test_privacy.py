"""No patient in a log, in a table or in a sentence: a study full of markers goes through listener and worker.

Everything that can go wrong is made to go wrong on the way: broken objects, invalid values, an archive that quotes the
patient's name, an error that quotes it. Then every log line at debug level, everything printed, every column of every
table and every sentence of `studies show` is searched.
"""

from __future__ import annotations

import io
import json
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import pytest
import structlog
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from sqlalchemy import select

import model
from medk2n_node.config import Config
from medk2n_node.delivery.send import send_due
from medk2n_node.demo.study import ScannedSeries, datasets
from medk2n_node.listener import Listener
from medk2n_node.observe import configure_logging, get_logger
from medk2n_node.store import Store
from medk2n_node.store.tables import Base, Instance
from medk2n_node.study import intake, revisions, show_document
from medk2n_node.study.completion import CompletionRules
from medk2n_node.study.context import Context
from medk2n_node.study.delivery_step import close_delivery
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.study.synthesis_step import synthesize_revision
from medk2n_node.study.workflow import StepFailed, _in_words
from tests.integration.receiver import Receiver
from tests.objects import encoded
from tests.raw_sender import RawSender
from tests.receiving import receiver, settled
from tests.unit.synthesis.fakes import FakeBundle, fake_synthesize

FAMILY, GIVEN, IDENTIFIER = "Zmarkerfamily", "Zmarkergiven", "ZMARKERID42"
BIRTH, ACCESSION, DOCTOR = "19480229", "ZMARKERACC7", "Zmarkerdoctor"
DESCRIPTION = "zmarkerwords"
PATIENT = {
    "PatientName": f"{FAMILY}^{GIVEN}",
    "PatientID": IDENTIFIER,
    "PatientBirthDate": BIRTH,
    "AccessionNumber": ACCESSION,
    "ReferringPhysicianName": f"{DOCTOR}^A",
    "OtherPatientNames": f"{FAMILY}^Other",
    "PatientComments": f"{FAMILY} was here",
}
IDENTITY = (FAMILY, GIVEN, IDENTIFIER, BIRTH, ACCESSION, DOCTOR)


def found_in(text: str, *words: str) -> list[str]:
    """The markers that stand in `text`, in any case."""
    return [word for word in words if word.lower() in text.lower()]


def study(key: str, **header: Any) -> list[Dataset]:
    """T1 and T2 of twelve slices; a technologist wrote the name into a description."""
    made: list[Dataset] = []
    for number, contrast in enumerate(("T1", "T2"), start=1):
        pixels = np.random.default_rng(number).integers(1, 4000, (12, 40, 40)).astype(np.uint16)
        named = {
            "SeriesDescription": f"{contrast} AX {DESCRIPTION} {FAMILY.upper()}",
            "ProtocolName": f"{contrast} {IDENTIFIER}",
            "StudyDescription": f"MR brain {DESCRIPTION}, {FAMILY}",
            "RequestedProcedureDescription": f"MR {GIVEN}",
        }
        scanned = ScannedSeries(
            contrast=contrast, array=pixels, affine=np.diag([5.0, 5.0, 5.0, 1.0]),
            header={**named, **PATIENT, **header},
        )  # fmt: skip
        made += datasets(scanned, key=key, number=number)
    return made


@dataclass
class Site:
    """A listener that runs, a worker whose steps are called, and what both said."""

    context: Context
    listener: Listener
    store: Store
    log: io.StringIO

    @property
    def port(self) -> int:
        return self.listener.port

    def send(self, objects: list[Dataset]) -> None:
        with RawSender(self.port) as sender:
            sender.associate()
            for one in objects:
                assert sender.store(encoded(one), sop_uid=one.SOPInstanceUID)[0] == 0x0000
        assert settled(lambda: self.listener.connections == 0), "an association stays open"

    def settle(self, study_uid: str) -> int:
        later = datetime.now(UTC) + timedelta(seconds=600)
        rules = CompletionRules(quiet_seconds=1, max_wait_seconds=3600)
        with self.store.session() as session:
            intake.look_after(session, study_uid, later, rules, lambda instance: None)
            revision = revisions.latest(session, study_uid)
            assert revision is not None
            return revision.id

    def show(self, study_uid: str) -> str:
        with self.store.reading() as session:
            return json.dumps(show_document(session, study_uid), default=str, ensure_ascii=False)

    def tables(self, *, without: tuple[str, ...] = ()) -> str:
        """Every row of every table as text."""
        lines = []
        with self.store.reading() as session:
            for table in Base.metadata.sorted_tables:
                columns = [one for one in table.columns if f"{table.name}.{one.name}" not in without]
                for row in session.execute(select(*columns)):
                    lines.append(f"{table.name}: {tuple(row)!r}")
        return "\n".join(lines)


def telltale(number: int, one: Dataset) -> Dataset:
    """An archive's answer that names the patient."""
    answer = Dataset()
    answer.Status = 0xC123
    answer.ErrorComment = f"Patient {one.PatientName} ({one.PatientID}) unknown"[:64]
    return answer


@pytest.fixture(params=["text", "json"])
def site(request: pytest.FixtureRequest, node_config: Config) -> Iterator[Site]:
    root = logging.getLogger()
    handlers, level, shown = root.handlers[:], root.level, warnings.showwarning
    stream = io.StringIO()
    with Receiver(answering=telltale) as pacs:
        config = Config.model_validate(
            {
                **node_config.model_dump(),
                "observe": {"log_level": "debug", "log_format": request.param},
                "destinations": [
                    {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port, "send": ["series"]}
                ],
            }
        )  # fmt: skip
        configure_logging(config.observe, process="node", stream=stream)
        try:
            with receiver(config) as running:
                context = Context(
                    config=config,
                    store=running.store,
                    bundle=lambda: cast("model.Bundle", FakeBundle()),
                    synthesize=fake_synthesize,
                )
                yield Site(context=context, listener=running.listener, store=running.store, log=stream)
        finally:
            structlog.reset_defaults()
            root.handlers[:], warnings.showwarning = handlers, shown
            root.setLevel(level)
            logging.getLogger("pydicom").setLevel(logging.NOTSET)


def quoting(*arguments: object, **options: object) -> model.Outputs:
    """A library that stumbles over a value and quotes it, in a frame that holds the whole header."""
    header = study("local")[0]
    raise ValueError(f'Invalid value for VR PN: {str(header.PatientName)!r} of "{header.PatientID}".')


def broken(objects: list[Dataset], port: int) -> None:
    """Objects that a listener must refuse or set aside, each with the patient inside."""
    first, second, third = (encoded(one) for one in objects[:3])
    with RawSender(port) as sender:
        sender.associate()
        uid = objects[0].SOPInstanceUID
        assert sender.store(first[: len(first) // 2], sop_uid=uid)[0] == 0xC000
        assert sender.store(f"{FAMILY} {IDENTIFIER}".encode() * 40, sop_uid=uid)[0] == 0xC000
        assert sender.store(second, sop_uid="1.2.3.4")[0] == 0xA900
        changed = third.replace(GIVEN.encode(), GIVEN.upper().encode())
        assert sender.store(third, sop_uid=objects[2].SOPInstanceUID)[0] == 0x0000
        assert sender.store(changed, sop_uid=objects[2].SOPInstanceUID)[0] == 0x0000
        sender.send_command(sop_uid=uid)
        sender.send_fragment(first[:500], last=False)  # and hang up in the middle of it
    with RawSender(port) as sender:
        sender.socket.sendall(f"{FAMILY} {IDENTIFIER}".encode() * 4)


def sent_and_rejected(site: Site) -> str:
    """A study that is planned, made, and refused by the archive in words that name the patient."""
    objects = study("whole")
    site.send(objects)
    uid = str(objects[0].StudyInstanceUID)
    revision = site.settle(uid)
    assert plan_revision(site.context, revision) == "PLANNED"
    assert synthesize_revision(site.context, revision) == "DELIVERING"
    send_due(
        site.context.config, site.store, revision, site.context.config.destinations[0], site.context.clock
    )
    close_delivery(site.context, revision)
    return uid


def failed_with_a_quotation(site: Site) -> str:
    """A study whose synthesis ends in an error that quotes the patient."""
    objects = study("failing")
    site.send(objects)
    revision = site.settle(str(objects[0].StudyInstanceUID))
    context = replace(site.context, synthesize=quoting)
    assert plan_revision(context, revision) == "PLANNED"
    with pytest.raises(StepFailed) as error:
        _in_words(synthesize_revision, context, revision)
    printed = "".join(traceback.format_exception(error.value))  # as the durable engine prints and keeps it
    assert "ValueError: Invalid value for VR PN: [not shown] of [not shown]." in str(error.value)
    assert found_in(printed, *IDENTITY) == []
    return str(objects[0].StudyInstanceUID)


def two_patients(site: Site) -> str:
    """Two patients under one Study Instance UID."""
    objects = study("two")
    for one in objects[12:]:
        one.PatientID = f"{IDENTIFIER}-B"
    site.send(objects)
    assert plan_revision(site.context, site.settle(str(objects[0].StudyInstanceUID))) == "HELD"
    return str(objects[0].StudyInstanceUID)


def invalid_values(site: Site) -> str:
    """Values that pydicom warns of or cannot convert, with the patient in them, and pixels that end too early."""
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        objects = study(
            "invalid", PatientBirthDate=f"{FAMILY}", PatientAge=IDENTIFIER, StationName=FAMILY * 3
        )
        for one in objects:
            for keyword in ("EchoTime", "SliceThickness"):
                one[keyword]._value = FAMILY
            one["AcquisitionNumber"]._value = IDENTIFIER
        objects[3].PixelData = objects[3].PixelData[:40]
        site.send(objects)
    state = plan_revision(site.context, site.settle(str(objects[0].StudyInstanceUID)))
    assert state in ("REFUSED", "HELD", "COMPLETE", "PLANNED")
    return str(objects[0].StudyInstanceUID)


WAYS: tuple[Callable[[Site], str], ...] = (
    sent_and_rejected,
    failed_with_a_quotation,
    two_patients,
    invalid_values,
)


@pytest.mark.slow
@pytest.mark.parametrize("site", ["text"], indirect=True)  # the form that shows more of an error
@pytest.mark.filterwarnings("always")
def test_no_attribute_of_a_patient_is_in_a_log_a_table_or_a_sentence(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    broken(study("broken"), site.port)
    studies = [way(site) for way in WAYS]
    with site.store.reading() as session:
        assert len(list(session.scalars(select(Instance)))) > 90
    printed = capfd.readouterr()
    log = site.log.getvalue()
    for sign in ("object set aside", "object not accepted", "an attempt failed", "association accepted"):
        assert sign in log, f"the log is not the one that was meant: {sign}"
    for name, text in (("the log", log), ("stdout", printed.out), ("stderr", printed.err)):
        assert found_in(text, *IDENTITY, DESCRIPTION) == [], name
    # A description is shown to people, less what names the patient; the working columns hold none.
    assert found_in(site.tables(), *IDENTITY) == []
    assert found_in(site.tables(without=("revision.plan", "revision.report")), DESCRIPTION) == []
    for uid in studies:
        shown = site.show(uid)
        assert found_in(shown, *IDENTITY) == []
    assert "pacs" in site.show(studies[0])
    assert "[removed]" in site.show(studies[0])


def test_a_logged_error_shows_where_it_arose_and_no_value(site: Site) -> None:
    try:
        quoting()
    except ValueError:
        get_logger("test").error("it failed", exc_info=True)
    log = site.log.getvalue()
    assert "Invalid value for VR PN: [not shown] of [not shown]." in log
    assert "test_privacy.py" in log
    assert found_in(log, *IDENTITY) == []


def test_a_warning_of_a_library_is_an_event_without_the_value(site: Site) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"cannot use '{FAMILY}'", UserWarning, stacklevel=1)
        one = Dataset()
        one.add_new("PatientBirthDate", "DA", FAMILY)
    logging.getLogger("somewhere").error("cannot use %r", FAMILY)
    log = site.log.getvalue()
    assert "cannot use [not shown]" in log
    assert "pydicom warns of a value" in log
    assert found_in(log, *IDENTITY) == []
