"""A store in a temporary folder, a clock that tests move, and instances written as the listener writes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medk2n_node.config import load_config
from medk2n_node.store import open_store
from tests.unit.study.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    environ = {
        "MEDK2N__NODE__STORAGE": str(tmp_path / "storage"),
        "MEDK2N__NODE__DATABASE": f"sqlite:///{tmp_path / 'node.db'}",
    }
    store = open_store(load_config(None, environ))
    yield Desk(store)
    store.close()
