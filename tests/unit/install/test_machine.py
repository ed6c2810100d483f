"""What `doctor` says about the machine: storage, database, ports, device, weights, destinations."""

from __future__ import annotations

import shutil
import socket
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import model
from medk2n_node.config import Config, DestinationSection, ListenerSection, NodeSection, SynthesisSection
from medk2n_node.installation import machine
from medk2n_node.installation.checks import Echoed, State
from medk2n_node.installation.examine import reachable

Usage = namedtuple("Usage", "total used free")


def node(tmp_path: Path, **keys: object) -> Config:
    return Config(node=NodeSection.model_validate({"storage": str(tmp_path / "storage"), **keys}))


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def success(ae_title: str, host: str, port: int, tls: bool) -> Echoed:
    return Echoed(outcome="success")


def refused(ae_title: str, host: str, port: int, tls: bool) -> Echoed:
    return Echoed(outcome="refused", words="calling AE title not recognised")


def silent(ae_title: str, host: str, port: int, tls: bool) -> Echoed:
    return Echoed(outcome="silent", words="nothing answers")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_a_storage_that_does_not_exist_yet_is_judged_by_its_parent(tmp_path: Path) -> None:
    check = machine.storage(node(tmp_path))
    assert check.state in (State.OK, State.WARNING)
    assert str(tmp_path / "storage") in check.found
    assert list(tmp_path.iterdir()) == [], "doctor leaves nothing behind"


def test_a_storage_on_a_file_is_an_error_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = machine.storage(node(tmp_path, storage=str(tmp_path / "file" / "storage")))
    assert check.state is State.ERROR
    assert "[node] storage" in check.cure


def test_a_disk_under_the_reserve_is_an_error_that_names_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * 2**30, 9 * 2**30, 2**30))
    config = node(tmp_path).model_copy(update={"listener": ListenerSection(disk_reserve_mb=2048)})
    check = machine.storage(config)
    assert check.state is State.ERROR
    assert "disk_reserve_mb = 2048" in check.found


def test_a_disk_that_is_nearly_full_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * 2**30, 7 * 2**30, 3 * 2**30))
    assert machine.storage(node(tmp_path)).state is State.WARNING


def test_a_database_that_does_not_exist_yet_is_not_made_by_looking(tmp_path: Path) -> None:
    check = machine.database(node(tmp_path, database=f"sqlite:///{tmp_path / 'medk2n.db'}"))
    assert check.state is State.OK
    assert not (tmp_path / "medk2n.db").exists()


def test_a_database_that_cannot_be_opened_is_an_error_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://node:secret@127.0.0.1:{free_port()}/medk2n?connect_timeout=2"
    check = machine.database(node(tmp_path, database=url))
    assert check.state is State.ERROR
    assert "secret" not in check.found


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "medk2n.db").write_text("this is not a database, it is a sentence of some length\n" * 20)
    check = machine.database(node(tmp_path, database=f"sqlite:///{tmp_path / 'medk2n.db'}"))
    assert check.state is State.ERROR


def test_a_free_port_is_well(tmp_path: Path) -> None:
    [check] = machine.ports(node(tmp_path, port=free_port()), silent)
    assert check.state is State.OK
    assert "free" in check.found


def test_a_port_held_by_our_own_node_is_well(tmp_path: Path, taken_port: int) -> None:
    [check] = machine.ports(node(tmp_path, port=taken_port), success)
    assert check.state is State.OK
    assert "MEDK2N answers there already" in check.found


def test_a_port_held_by_a_node_that_does_not_let_us_in_is_well(tmp_path: Path, taken_port: int) -> None:
    [check] = machine.ports(node(tmp_path, port=taken_port), refused)
    assert check.state is State.OK
    assert "calling AE title not recognised" in check.found


def test_a_port_held_by_another_program_is_an_error(tmp_path: Path, taken_port: int) -> None:
    [check] = machine.ports(node(tmp_path, port=taken_port), silent)
    assert check.state is State.ERROR
    assert "[node] port" in check.cure


def test_an_address_of_another_machine_is_an_error(tmp_path: Path) -> None:
    [check] = machine.ports(node(tmp_path, host="192.0.2.1", port=free_port()), success)
    assert check.state is State.ERROR


def test_a_port_of_the_systems_choice_is_not_judged(tmp_path: Path) -> None:
    assert list(machine.ports(node(tmp_path, port=0), success)) == []


def test_the_device_computes_and_says_how_fast() -> None:
    check = machine.device(Config(synthesis=SynthesisSection(device="cpu")))
    assert check.state is State.OK
    assert "GFLOP/s" in check.found


def test_a_device_that_is_not_there_is_an_error() -> None:
    check = machine.device(Config(synthesis=SynthesisSection(device="cuda:63")))
    assert check.state is State.ERROR
    assert '[synthesis] device = "cpu"' in check.cure


def test_weights_are_named_with_their_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = SimpleNamespace(name="demo", version="1", digest="0123456789abcdef" * 4, contrasts=("T1", "T2"))
    monkeypatch.setattr(model, "load_bundle", lambda path=None: bundle)
    check = machine.weights(Config())
    assert check.state is State.OK
    assert "digest 0123456789ab" in check.found
    assert "not for clinical use" in check.found


def test_weights_that_are_not_there_are_an_error_with_a_cure(tmp_path: Path) -> None:
    missing = str(tmp_path / "site.safetensors")
    check = machine.weights(Config(synthesis=SynthesisSection(model=missing)))
    assert check.state is State.ERROR
    assert missing in check.found
    assert check.cure


def test_a_destination_that_answers_is_well() -> None:
    destination = DestinationSection(name="pacs", ae_title="ORTHANC", host="127.0.0.1", port=4242)
    asked = []

    def echo(*address: object) -> Echoed:
        asked.append(address)
        return Echoed(outcome="success")

    assert reachable(destination, echo).state is State.OK
    assert asked == [("ORTHANC", "127.0.0.1", 4242, False)]


def test_a_destination_that_does_not_answer_says_why() -> None:
    destination = DestinationSection(name="pacs", ae_title="ORTHANC", host="127.0.0.1", port=4242)
    check = reachable(destination, silent)
    assert check.state is State.UNREACHABLE
    assert check.found == "ORTHANC at 127.0.0.1:4242: nothing answers"
