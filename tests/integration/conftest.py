"""What the tests of whole nodes share: the phantom, and one running node, whose start takes long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import peers
from tests.integration import phantom
from tests.integration.node import Destination, node
from tests.integration.receiver import Receiver
from tests.integration.ward import Ward


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.Study:
    """T1, T2 and FLAIR of the phantom."""
    return phantom.read_study(phantom.write_phantom(tmp_path_factory.mktemp("phantom"), "T1", "T2", "FLAIR"))


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """A node, a PACS that answers, and a second one that is switched off."""
    archive_port = peers.free_port()
    with Receiver() as pacs:
        destinations = [
            Destination(name="pacs", ae_title="PACS", port=pacs.port),
            Destination(name="archive", ae_title="ARCHIVE", port=archive_port),
        ]
        with node(tmp_path_factory.mktemp("node"), destinations) as running:
            yield Ward(running, pacs, archive_port)
