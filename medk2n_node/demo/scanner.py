"""Play the scanner: send the files of a study by C-STORE, each in the transfer syntax that it has."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from medk2n_node.errors import InputError, PeerError

_CONTEXTS = 128  # PS3.8 section 7.1.1.13


@dataclass(frozen=True, kw_only=True)
class Sendable:
    """One file of a study and what an association must know to carry it."""

    path: Path
    sop_class: str
    transfer_syntax: str
    study_uid: str
    series_uid: str


def look_up(directory: Path) -> list[Sendable]:
    """The DICOM files below `directory`, in order of their paths; others are passed over.

    InputError when there is none, or when they belong to more than one study.
    """
    found: list[Sendable] = []
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        try:
            header = dcmread(
                path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"]
            )
        except InvalidDicomError:
            continue
        meta = header.file_meta
        if "MediaStorageSOPClassUID" not in meta or meta.MediaStorageSOPClassUID == "1.2.840.10008.1.3.10":
            continue  # a DICOMDIR names files, it is not an image
        found.append(
            Sendable(
                path=path,
                sop_class=str(meta.MediaStorageSOPClassUID),
                transfer_syntax=str(meta.TransferSyntaxUID),
                study_uid=str(header.get("StudyInstanceUID", "")),
                series_uid=str(header.get("SeriesInstanceUID", "")),
            )
        )
    studies = {one.study_uid for one in found}
    if not found or len(studies) != 1:
        raise InputError(
            code="not_a_study",
            subject=str(directory),
            reason=f"it holds {len(studies)} studies" if found else "it holds no DICOM file",
            cure="Give a folder with the DICOM files of one study",
        )
    return found


def wait_until_it_answers(
    host: str, port: int, *, calling: str, called: str, timeout_s: float, still_alive: Callable[[], None]
) -> None:
    """C-ECHO until it is answered. `still_alive` is called between tries and may raise; else PeerError."""
    entity = AE(ae_title=calling)
    entity.add_requested_context(Verification)
    entity.connection_timeout = 2.0
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        still_alive()
        if _listens(host, port):
            association = entity.associate(host, port, ae_title=called)
            if association.is_established:
                status = association.send_c_echo()
                association.release()
                if "Status" in status and status.Status == 0x0000:
                    return
        time.sleep(0.2)
    raise PeerError(
        code="no_answer",
        subject=f"{called} at {host}:{port}",
        reason=f"it did not answer C-ECHO within {timeout_s:.0f} s",
        cure="Look at its log",
    )


def _listens(host: str, port: int) -> bool:
    # Asked first because pynetdicom logs an error for each refused connection.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def send(
    files: Sequence[Sendable], host: str, port: int, *, calling: str, called: str, sent: Callable[[int], None]
) -> None:
    """Send all files over one association; `sent(n)` after each. PeerError at the first that is not taken.

    One that gets no answer is sent once more over a new association, as a scanner does: pynetdicom's own thread of an
    association may, on a busy machine, take an answer off the queue before the caller sees it.
    """
    entity = AE(ae_title=calling)
    for sop_class, syntax in sorted({(one.sop_class, one.transfer_syntax) for one in files})[:_CONTEXTS]:
        entity.add_requested_context(sop_class, syntax)
    where = f"{called} at {host}:{port}"
    done, unanswered = 0, -1
    while done < len(files):
        association = entity.associate(
            host, port, ae_title=called, evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay)]
        )
        if not association.is_established:
            raise PeerError(
                code="no_association",
                subject=where,
                reason="it refused the association",
                cure="Look at its log",
            )
        try:
            for one in files[done:]:
                status = association.send_c_store(dcmread(one.path))
                if "Status" not in status and unanswered != done:
                    unanswered = done
                    break
                if "Status" not in status or status.Status != 0x0000:
                    answer = f"answered 0x{status.Status:04X}" if "Status" in status else "did not answer"
                    raise PeerError(
                        code="not_stored",
                        subject=where,
                        reason=f"it {answer} to {one.path.name}",
                        cure="Look at its log",
                    )
                done += 1
                sent(done)
        finally:
            if association.is_established:
                association.release()


def _without_delay(event: evt.Event) -> None:
    # Nagle's algorithm and delayed acknowledgements would hold every object for some 40 ms.
    transport = event.assoc.dul.socket
    connection = None if transport is None else transport.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
