"""Objects go in and are found again, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import func, select
from sqlalchemy.orm import DeclarativeBase

from medk2n_node.config import Config
from medk2n_node.errors import StoreError
from medk2n_node.store import DiskFullError, Outcome, Store, open_store
from medk2n_node.store.tables import Association, Conflict, Instance, Quarantine, Series, Study
from tests.objects import EXPLICIT, data_set_bytes, encoded, mr_slice


def put(store: Store, dataset: Dataset, *, data: bytes | None = None, association_id: str = "") -> Outcome:
    return store.put(
        encoded(dataset) if data is None else data,
        sop_class=str(dataset.SOPClassUID),
        sop_uid=str(dataset.SOPInstanceUID),
        transfer_syntax=EXPLICIT,
        calling_ae="SCANNER",
        association_id=association_id,
    )


def count(store: Store, table: type[DeclarativeBase]) -> int:
    with store.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def only(store: Store, table: type[DeclarativeBase]) -> object:
    with store.reading() as session:
        return session.scalars(select(table)).one()


def test_the_file_holds_the_bytes_as_sent_and_the_row_says_where(store: Store) -> None:
    dataset = mr_slice(patient_id="A-17")
    data = encoded(dataset)
    assert put(store, dataset).kind == "stored"
    with store.reading() as session:
        row = session.scalars(select(Instance)).one()
        study = session.scalars(select(Study)).one()
        series = session.scalars(select(Series)).one()
    assert data_set_bytes(store.path(row.path)) == data
    assert pydicom.dcmread(store.path(row.path)).PixelData == dataset.PixelData
    assert (row.sop_uid, row.series_uid, row.study_uid) == (
        dataset.SOPInstanceUID,
        dataset.SeriesInstanceUID,
        dataset.StudyInstanceUID,
    )
    assert (row.size, row.calling_ae, row.transfer_syntax) == (len(data), "SCANNER", EXPLICIT)
    assert (study.study_uid, series.modality, series.study_uid) == (row.study_uid, "MR", row.study_uid)


def test_no_identifier_of_a_patient_stands_in_the_database(store: Store, tmp_path: Path) -> None:
    put(store, mr_slice(patient_id="SECRET-4711"))
    store.close()
    for file in tmp_path.glob("medk2n.db*"):
        assert b"SECRET-4711" not in file.read_bytes()


def test_two_patients_under_one_study_have_different_hashes(store: Store) -> None:
    first = mr_slice(patient_id="A")
    put(store, first)
    put(store, mr_slice(patient_id="A", study_uid=first.StudyInstanceUID))
    put(store, mr_slice(patient_id="B", study_uid=first.StudyInstanceUID))
    with store.reading() as session:
        hashes = session.scalars(select(Instance.patient_hash).distinct()).all()
    assert len(hashes) == 2


def test_the_same_object_twice_is_one_row_and_a_success(store: Store) -> None:
    dataset = mr_slice()
    assert [put(store, dataset).kind for _ in range(3)] == ["stored", "duplicate", "duplicate"]
    assert count(store, Instance) == 1
    assert not list((store.root / "incoming").rglob("*.part"))


def test_other_bytes_under_a_known_uid_are_set_aside_and_the_first_kept(store: Store) -> None:
    first = mr_slice()
    other = mr_slice(sop_uid=first.SOPInstanceUID, number=2)
    put(store, first)
    outcome = put(store, other)
    assert outcome.kind == "conflict" and "held already; the first are kept" in outcome.words
    put(store, other)
    with store.reading() as session:
        kept = session.scalars(select(Instance)).one()
        aside = session.scalars(select(Conflict)).one()
    assert data_set_bytes(store.path(kept.path)) == encoded(first)
    assert data_set_bytes(store.path(aside.path)) == encoded(other)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda data: data[:-100], "truncated"),
        (lambda data: b"no DICOM at all" * 20, "not_dicom"),
    ],
)
def test_an_unreadable_object_is_kept_in_quarantine_with_its_reason(
    store: Store, spoil: Callable[[bytes], bytes], code: str
) -> None:
    dataset = mr_slice()
    data = spoil(encoded(dataset))
    assert put(store, dataset, data=data).kind == "quarantined"
    with store.reading() as session:
        row = session.scalars(select(Quarantine)).one()
    assert (row.code, row.sop_uid, row.calling_ae) == (code, dataset.SOPInstanceUID, "SCANNER")
    assert row.study_uid == (dataset.StudyInstanceUID if code == "truncated" else None)
    assert data_set_bytes(store.path(row.path)) == data
    assert count(store, Instance) == 0


def test_an_object_announced_as_another_is_quarantined(store: Store) -> None:
    announced, sent = mr_slice(), mr_slice()
    outcome = put(store, announced, data=encoded(sent))
    assert (outcome.kind, outcome.code) == ("quarantined", "instance_mismatch")


def test_below_the_reserve_objects_are_refused_and_taken_again_as_soon_as_there_is_space(
    node_config: Config,
) -> None:
    free = [10 << 30]
    store = open_store(node_config, free_bytes=lambda: free[0])
    dataset = mr_slice()
    free[0] = 5 << 20
    with pytest.raises(DiskFullError, match="less than 1024 MiB are free"):
        put(store, dataset)
    assert count(store, Instance) == 0
    free[0] = 10 << 30
    assert put(store, dataset).kind == "stored"
    store.close()


def test_a_disk_that_fills_up_during_a_large_object_refuses_it(node_config: Config) -> None:
    free = [10 << 30]
    store = open_store(node_config, free_bytes=lambda: free[0])
    intake = store.receive(
        sop_class="1.2", sop_uid="1.3", transfer_syntax=EXPLICIT, calling_ae="A", association_id=""
    )
    free[0] = 0
    with pytest.raises(DiskFullError):
        for _ in range(20):
            intake.write([bytes(1 << 20)])
    intake.refuse()
    assert not list((store.root / "incoming").rglob("*.part"))
    store.close()


class Crash(BaseException):
    """Stands for the end of the process: nothing in the node catches it."""


STEPS = ("written", "synced", "placed", "committed")


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_after_any_step_leaves_the_object_found_again_or_set_aside(
    node_config: Config, step: str
) -> None:
    def crash(name: str) -> None:
        if name == step:
            raise Crash

    dataset = mr_slice()
    crashing = open_store(node_config, step=crash)
    with pytest.raises(Crash):
        put(crashing, dataset, association_id="f" * 32)
    crashing.close()  # gives up the lock of the incoming folder, as the end of the process does
    store = open_store(node_config)
    report = store.sweep()
    if step in ("written", "synced"):
        assert (report.adopted, report.quarantined) == (0, 1)
        assert count(store, Instance) == 0
        with store.reading() as session:
            row = session.scalars(select(Quarantine)).one()
        assert (row.code, row.sop_uid) == ("interrupted", dataset.SOPInstanceUID)
    else:
        assert (report.adopted, report.quarantined) == (1 if step == "placed" else 0, 0)
        with store.reading() as session:
            instance = session.scalars(select(Instance)).one()
        assert data_set_bytes(store.path(instance.path)) == encoded(dataset)
        assert (instance.calling_ae, instance.association_id) == ("SCANNER", "f" * 32)
        assert put(store, dataset).kind == "duplicate"
    assert not list((store.root / "incoming").rglob("*.part"))
    store.close()


def test_a_lost_database_is_built_again_from_the_files(node_config: Config, tmp_path: Path) -> None:
    store = open_store(node_config)
    datasets = [mr_slice() for _ in range(5)]
    for dataset in datasets:
        put(store, dataset)
    with store.reading() as session:
        before = {
            row.sop_uid: (row.sha256, row.patient_hash, row.path) for row in session.scalars(select(Instance))
        }
    store.close()
    for file in tmp_path.glob("medk2n.db*"):
        file.unlink()
    again = open_store(node_config)
    assert again.sweep().adopted == 5
    with again.reading() as session:
        after = {
            row.sop_uid: (row.sha256, row.patient_hash, row.path) for row in session.scalars(select(Instance))
        }
    assert after == before
    again.close()


def test_the_sweep_leaves_the_object_alone_that_another_process_is_receiving(node_config: Config) -> None:
    busy, other = open_store(node_config), open_store(node_config)
    dataset = mr_slice()
    intake = busy.receive(
        sop_class=str(dataset.SOPClassUID),
        sop_uid=str(dataset.SOPInstanceUID),
        transfer_syntax=EXPLICIT,
        calling_ae="A",
        association_id="",
    )
    intake.write([encoded(dataset)])
    assert other.sweep().quarantined == 0
    assert intake.keep().kind == "stored"
    busy.close()
    other.close()


def test_a_file_in_storage_that_is_no_object_is_set_aside_by_the_sweep(store: Store) -> None:
    stray = store.root / "instances" / "00" / "stray.dcm"
    stray.write_bytes(b"not an object")
    assert store.sweep().quarantined == 1
    assert not stray.exists()
    with store.reading() as session:
        row = session.scalars(select(Quarantine)).one()
    assert store.path(row.path).read_bytes() == b"not an object"


def test_many_threads_store_at_once_and_every_row_is_there(store: Store) -> None:
    study = mr_slice().StudyInstanceUID
    failures: list[BaseException] = []

    def send() -> None:
        try:
            for _ in range(15):
                assert put(store, mr_slice(study_uid=study)).kind == "stored"
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (count(store, Instance), count(store, Study)) == (90, 1)


def test_the_same_object_from_many_threads_is_stored_once(store: Store) -> None:
    dataset = mr_slice()
    kinds: list[str] = []
    threads = [threading.Thread(target=lambda: kinds.append(put(store, dataset).kind)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kinds) == ["duplicate"] * 7 + ["stored"]
    assert count(store, Instance) == 1


def test_an_association_is_noted_from_its_opening_to_its_end(node_config: Config) -> None:
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    store = open_store(node_config, clock=lambda: now)
    association_id = store.open_association(calling_ae="A", peer="10.0.0.1", listener="l")
    now += timedelta(seconds=5)
    put(store, mr_slice(), association_id=association_id)
    with store.reading() as session:
        row = session.get_one(Association, association_id)
        assert (row.last_at - row.opened_at, row.closed_at) == (timedelta(seconds=5), None)
    now += timedelta(seconds=1)
    store.close_association(association_id, "released")
    with store.reading() as session:
        row = session.get_one(Association, association_id)
        assert (row.closed_at, row.ending) == (now, "released")
    store.close()


def test_associations_that_a_crash_left_open_are_closed_under_the_same_name_only(store: Store) -> None:
    for listener in ("ours", "ours", "theirs"):
        store.open_association(calling_ae="A", peer="p", listener=listener)
    assert store.close_crashed("ours") == 2
    with store.reading() as session:
        endings = session.scalars(select(Association.ending).order_by(Association.listener)).all()
    assert endings == ["crashed", "crashed", None]


def test_a_result_is_written_whole_and_may_be_written_again(store: Store) -> None:
    digest = store.write_result("7/a.dcm", b"result")
    assert store.write_result("7/a.dcm", b"result") == digest
    assert store.path("results/7/a.dcm").read_bytes() == b"result"
    assert [path.name for path in (store.root / "results" / "7").iterdir()] == ["a.dcm"]


def test_a_path_that_leaves_the_storage_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="leaves the storage folder"):
        store.path("../secret")


def test_a_storage_that_is_a_file_is_refused_with_the_key_to_set(node_config: Config) -> None:
    node_config.storage_path.write_text("in the way")
    with pytest.raises(StoreError, match=r"Set node\.storage to a folder"):
        open_store(node_config)
