"""The database: made by the migrations, shared by several processes, writable by one at a time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError

from medk2n_node.errors import StoreError
from medk2n_node.store import Store
from medk2n_node.store.commits import GroupCommit
from medk2n_node.store.engine import connect
from medk2n_node.store.migrate import head, migrate
from medk2n_node.store.tables import Base, WorkerSlot
from tests.objects import EXPLICIT, encoded, mr_slice


def test_the_migrations_end_at_the_tables_of_the_code(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(engine)
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == head()
    engine.dispose()


def test_many_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def open_it() -> None:
        engine = connect(f"sqlite:///{tmp_path / 'a.db'}")
        try:
            migrate(engine)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_database_of_a_newer_node_is_refused_in_words(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="made by another version of the node"):
        migrate(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://h/d", "mysql is not supported"),
        ("sqlite://", "a database in memory cannot be shared"),
        ("not a url", "this is not a database URL"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_with_an_example(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        connect(url)
    assert "sqlite:///var/medk2n.db" in str(caught.value)


def test_a_reader_sees_one_state_while_a_writer_goes_on(store: Store) -> None:
    with store.reading() as reader:
        assert reader.scalars(select(WorkerSlot)).all() == []
        with store.session() as writer:
            writer.add(WorkerSlot(executor_id="a", host="h", pid=1, heartbeat_at=store.clock()))
        assert reader.scalars(select(WorkerSlot)).all() == []
    with store.reading() as reader:
        assert len(reader.scalars(select(WorkerSlot)).all()) == 1


def test_a_writer_waits_for_another_instead_of_failing(store: Store) -> None:
    entered = threading.Event()

    def hold() -> None:
        with store.session() as session:
            session.scalars(select(WorkerSlot)).all()
            entered.set()
            time.sleep(0.4)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    dataset = mr_slice()
    started = time.monotonic()
    outcome = store.put(
        encoded(dataset),
        sop_class=str(dataset.SOPClassUID),
        sop_uid=str(dataset.SOPInstanceUID),
        transfer_syntax=EXPLICIT,
        calling_ae="A",
    )
    assert outcome.kind == "stored"
    assert time.monotonic() - started > 0.2
    thread.join()


def test_a_session_that_raises_writes_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.session() as session:
        session.add(WorkerSlot(executor_id="a", host="h", pid=1, heartbeat_at=store.clock()))
        session.flush()
        raise ZeroDivisionError
    with store.reading() as reader:
        assert reader.scalars(select(WorkerSlot)).all() == []


def test_one_bad_change_does_not_take_its_group_along(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER PRIMARY KEY)"))
        connection.execute(text("INSERT INTO t VALUES (0)"))
    commits = GroupCommit(engine)
    outcomes: dict[int, str] = {}
    start = threading.Barrier(6)

    def add(number: int) -> None:
        def change(connection: Connection) -> None:
            connection.execute(text("INSERT INTO t VALUES (:a)"), {"a": number})

        start.wait()
        try:
            commits.run(change)
            outcomes[number] = "done"
        except StoreError as error:
            assert isinstance(error.__cause__, IntegrityError)
            outcomes[number] = "failed"

    threads = [threading.Thread(target=add, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {0: "failed"} | dict.fromkeys(range(1, 6), "done")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 6
    engine.dispose()
