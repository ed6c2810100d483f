"""A small PACS: it keeps what it is sent in a folder and answers C-ECHO. A process of its own, for the demo.

`python -m medk2n_node.demo.pacs --folder DIR --port N --ae-title PACS` prints one line when it listens and ends
on SIGTERM, or when its standard input closes, so it cannot outlive the process that started it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

READY = "the small PACS listens"

_SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
]
_SUCCESS, _NO_RESOURCES, _CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000  # PS3.4 table B.2-1


def serve(folder: Path, *, host: str, port: int, ae_title: str, stop: threading.Event) -> None:
    """Keep what is sent below `folder` as <series UID>/<SOP UID>.dcm until `stop` is set."""
    folder.mkdir(parents=True, exist_ok=True)
    entity = AE(ae_title=ae_title)
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(UID(str(context.abstract_syntax)), _SYNTAXES)
    server = entity.start_server((host, port), block=False, evt_handlers=[(evt.EVT_C_STORE, _keep, [folder])])
    if server is None:
        raise RuntimeError("the server did not start")
    try:
        sys.stdout.write(READY + "\n")
        sys.stdout.flush()
        stop.wait()
    finally:
        server.shutdown()


def _keep(event: evt.Event, folder: Path) -> int:
    """Write the object as it was sent; the status to answer."""
    try:
        series, instance = (
            str(event.dataset.get(name, "")) for name in ("SeriesInstanceUID", "SOPInstanceUID")
        )
    except (ValueError, EOFError, KeyError):
        return _CANNOT_UNDERSTAND
    if not _is_uid(series) or not _is_uid(instance):
        return _CANNOT_UNDERSTAND
    place = folder / series
    try:
        place.mkdir(exist_ok=True)
        part = place / f"{instance}.part"
        part.write_bytes(event.encoded_dataset())
        part.replace(place / f"{instance}.dcm")
    except OSError:
        return _NO_RESOURCES
    return _SUCCESS


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", text) is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of the process."""
    parser = argparse.ArgumentParser(
        prog="medk2n_node.demo.pacs", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ae-title", default="PACS")
    given = parser.parse_args(arguments)
    stop = threading.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_, lambda *_: stop.set())

    def watch_parent() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        stop.set()

    threading.Thread(target=watch_parent, daemon=True).start()
    serve(given.folder, host=given.host, port=given.port, ae_title=given.ae_title, stop=stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
