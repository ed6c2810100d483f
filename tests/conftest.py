"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medk2n_node.config import Config, load_config
from medk2n_node.store import Store, open_store
from tests import peers

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test studies and volumes that lies beside the checkout.

    Absent on a developer's machine: the test is skipped with one line. Absent in CI: a failure.
    """
    if SHARED_DATA.is_dir():
        return SHARED_DATA
    line = f"the shared test data are not at {SHARED_DATA}"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(line)
    pytest.skip(line)


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[peers.Orthanc]:
    """A PACS of its own for the test."""
    with peers.orthanc(tmp_path / "orthanc") as running:
        yield running


@pytest.fixture
def node_config(tmp_path: Path) -> Config:
    """A configuration whose storage and database lie in the test's own folder, on a free port."""
    return load_config(
        None,
        {
            "MEDK2N__NODE__PORT": "0",
            "MEDK2N__NODE__STORAGE": str(tmp_path / "storage"),
            "MEDK2N__NODE__DATABASE": f"sqlite:///{tmp_path / 'medk2n.db'}",
            "MEDK2N__LISTENER__SHUTDOWN_SECONDS": "1",
        },
    )


@pytest.fixture
def store(node_config: Config) -> Iterator[Store]:
    """An empty store."""
    opened = open_store(node_config)
    yield opened
    opened.close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: whole files go to one process, and a long one begun last would be waited for."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
