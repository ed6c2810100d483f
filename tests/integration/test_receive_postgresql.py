"""The same store on PostgreSQL: several machines may share it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from medk2n_node.config import Config
from medk2n_node.store import Store, open_store
from medk2n_node.store.tables import Association, Base, Instance, Study
from tests import peers
from tests.objects import data_set_bytes, encoded, mr_slice
from tests.raw_sender import RawSender
from tests.receiving import receiver

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with peers.postgresql() as url:
        yield url


@pytest.fixture
def shared_config(node_config: Config, url: str) -> Config:
    return node_config.model_copy(update={"node": node_config.node.model_copy(update={"database": url})})


def test_several_processes_make_the_tables_at_once_and_they_are_those_of_the_code(
    shared_config: Config,
) -> None:
    stores: list[Store] = []
    threads = [threading.Thread(target=lambda: stores.append(open_store(shared_config))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 3
    with stores[0].engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    for store in stores:
        store.close()


def test_what_is_received_lies_in_files_and_in_its_rows(shared_config: Config) -> None:
    study = mr_slice().StudyInstanceUID
    sent = {}
    with receiver(shared_config) as node:
        with RawSender(node.port) as sender:
            sender.associate()
            for number in range(5):
                dataset = mr_slice(study_uid=study, number=number)
                sent[dataset.SOPInstanceUID] = encoded(dataset)
                for _ in range(2):
                    assert sender.store(encoded(dataset), sop_uid=dataset.SOPInstanceUID)[0] == 0x0000
            sender.release()
        assert node.stored() == sent
        (association,) = node.rows(Association)
        (row,) = node.rows(Study)
        assert (row.study_uid, association.ending) == (study, "released")
        assert row.first_at <= row.last_at <= association.last_at <= (association.closed_at or row.first_at)


def test_a_row_that_is_lost_is_written_again_from_its_file(shared_config: Config, tmp_path: Path) -> None:
    store = open_store(shared_config)
    dataset = mr_slice()
    store.put(
        encoded(dataset),
        sop_class=str(dataset.SOPClassUID),
        sop_uid=str(dataset.SOPInstanceUID),
        transfer_syntax="1.2.840.10008.1.2.1",
        calling_ae="A",
    )
    with store.session() as session:
        session.delete(session.get_one(Instance, dataset.SOPInstanceUID))
    assert store.sweep().adopted == 1
    with store.reading() as session:
        row = session.scalars(select(Instance).where(Instance.sop_uid == dataset.SOPInstanceUID)).one()
    assert data_set_bytes(store.path(row.path)) == encoded(dataset)
    store.close()
