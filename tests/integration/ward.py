"""A node with two destinations, shared by the tests that only need some node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.node import Node
from tests.integration.receiver import Receiver


class Ward:
    """A node, a PACS that answers, and a second one that is switched off at first."""

    def __init__(self, running: Node, pacs: Receiver, archive_port: int) -> None:
        self.node = running
        self.pacs = pacs
        self.archive_port = archive_port
        self.delivered: str | None = None

    @contextmanager
    def archive(self) -> Iterator[Receiver]:
        """Switch the second destination on."""
        with Receiver(ae_title="ARCHIVE", port=self.archive_port) as archive:
            yield archive
