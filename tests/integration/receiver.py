"""A storage receiver for tests: keeps what it is sent and answers as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

Answering = Callable[[int, Dataset], int | Dataset]
"""Given how many objects came before and the new one: the status to answer."""


class Receiver:
    """Use as a context manager. `received` holds every data set that was answered with success, in order.

    `classes`: the SOP classes it takes; None takes every storage class.
    """

    def __init__(
        self,
        *,
        ae_title: str = "PACS",
        port: int = 0,
        answering: Answering | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.ae_title = ae_title
        self.received: list[Dataset] = []
        self.offered: list[str] = []
        self._answering = answering or (lambda number, dataset: 0x0000)
        self._lock = threading.Lock()
        entity = AE(ae_title=ae_title)
        every = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
        for sop_class in every if classes is None else classes:
            entity.add_supported_context(UID(sop_class), [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        entity.add_supported_context(Verification)
        entity.maximum_associations = 50
        self._server: Any = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def images(self, study_uid: str | None = None) -> list[Dataset]:
        """The MR images among what was received, of one study or all."""
        return [
            one
            for one in list(self.received)
            if one.SOPClassUID == MRImageStorage and study_uid in (None, one.StudyInstanceUID)
        ]

    def reports(self, study_uid: str) -> list[Dataset]:
        """The structured reports on a study, in the order in which they came."""
        return [
            one for one in list(self.received) if one.Modality == "SR" and one.StudyInstanceUID == study_uid
        ]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _store(self, event: evt.Event) -> int | Dataset:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        with self._lock:
            answer = self._answering(len(self.offered), dataset)
            self.offered.append(str(dataset.SOPInstanceUID))
            if answer == 0x0000:
                self.received.append(dataset)
        return answer
