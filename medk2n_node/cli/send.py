"""`medk2n send DIR --to PEER`: send what lies in a folder, as it is, and show the status of every file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks
from medk2n_node.errors import InputError, NodeError

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

    from medk2n_node.cli.calling import Peer
    from medk2n_node.config import Config

MAX_CONTEXTS = 128  # PS3.8 section 7.1.1.13: presentation context ids are the odd numbers 1 to 255


@dataclass(frozen=True, kw_only=True)
class DicomFile:
    """A file that can be sent, by its file meta information alone."""

    path: Path
    sop_class: str
    sop_uid: str
    transfer_syntax: str

    @property
    def kind(self) -> tuple[str, str]:
        """What a presentation context must be agreed for."""
        return self.sop_class, self.transfer_syntax


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of a file; `status` is the DIMSE status in hexadecimal, None where none came."""

    path: str
    sop_uid: str
    status: str | None
    ok: bool
    words: str


def register(app: typer.Typer) -> None:
    """Add `send` to the command line."""
    app.command()(send)


def send(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder (or one file) of DICOM files.")],
    to: Annotated[str, typer.Option("--to", metavar="PEER", help="A destination's name, or AE@HOST:PORT.")],
    as_json: JsonFlag = False,
) -> None:
    """Send the DICOM files of a folder (C-STORE), unchanged; exit code 5 when the peer cannot be reached."""
    from medk2n_node.cli.calling import find_peer

    config = configuration(context)
    peer = find_peer(config, to)
    files, ignored = find_files(directory)
    results: list[Sent] = []
    console = remarks()
    for number, sent in enumerate(send_files(config, peer, files), start=1):
        results.append(sent)
        if not as_json:
            answer = sent.status or "----"
            words = f"  {sent.words}" if sent.words else ""
            console.print(
                f"{number:>6}/{len(files)}  {answer}  {sent.path}{words}", markup=False, soft_wrap=True
            )
    failed = [one for one in results if not one.ok]
    if as_json:
        print_json(
            {
                "peer": {"ae_title": peer.ae_title, "host": peer.host, "port": peer.port},
                "sent": len(results) - len(failed),
                "failed": len(failed),
                "ignored": [str(path) for path in ignored],
                "files": [asdict(one) for one in results],
            }
        )
    else:
        not_dicom = f", {len(ignored)} ignored (not DICOM files)" if ignored else ""
        people().print(
            f"{len(results) - len(failed)} of {len(files)} objects accepted by {peer}{not_dicom}",
            soft_wrap=True,
        )
    if failed:
        raise typer.Exit(1)


def find_files(directory: Path) -> tuple[list[DicomFile], list[Path]]:
    """The DICOM files below a folder in the order of their names, and the files that are none.

    Raises:
        InputError: the folder does not exist, or holds no DICOM file.
    """
    if not directory.exists():
        raise InputError(
            code="no_such_folder",
            subject=str(directory),
            reason="there is no such file or folder",
            cure="Give a folder of DICOM files",
        )
    found: list[DicomFile] = []
    ignored: list[Path] = []
    paths = [directory] if directory.is_file() else sorted(p for p in directory.rglob("*") if p.is_file())
    for path in paths:
        file = _read_meta(path)
        if file is None:
            ignored.append(path)
        else:
            found.append(file)
    if not found:
        raise InputError(
            code="no_dicom_files",
            subject=str(directory),
            reason=f"none of its {len(paths)} files is a DICOM file",
            cure="Give a folder of DICOM files (PS3.10, with the prefix DICM)",
        )
    return found, ignored


def send_files(config: Config, peer: Peer, files: Sequence[DicomFile]) -> Iterator[Sent]:
    """Send the files in order and give the outcome of each as it comes. Raises PeerError."""
    from pynetdicom import _config

    from medk2n_node.cli.calling import association

    _config.STORE_SEND_CHUNKED_DATASET = True  # from the file to the wire: neither decoded nor held in memory
    kinds = list(dict.fromkeys(file.kind for file in files))
    for start in range(0, len(kinds), MAX_CONTEXTS):
        batch = kinds[start : start + MAX_CONTEXTS]
        mine = [file for file in files if file.kind in set(batch)]
        with association(config, peer, contexts_for(batch)) as link:
            for number, file in enumerate(mine):
                yield _send_one(link, file, message_id=number % 65535 + 1)


def contexts_for(kinds: Sequence[tuple[str, str]]) -> list[PresentationContext]:
    """One presentation context for each kind of file, with the transfer syntax that the file has."""
    from pynetdicom.presentation import build_context

    return [build_context(sop_class, transfer_syntax) for sop_class, transfer_syntax in kinds]


def _send_one(link: Association, file: DicomFile, message_id: int) -> Sent:
    def outcome(status: int | None, words: str) -> Sent:
        # B000 to BFFF are warnings: the object was stored (PS3.4 table B.2-1).
        ok = status is not None and (status == 0 or status & 0xF000 == 0xB000)
        return Sent(
            path=str(file.path),
            sop_uid=file.sop_uid,
            status=None if status is None else f"{status:04X}",
            ok=ok,
            words=words,
        )

    if not link.is_established:
        return outcome(None, "not sent: the peer ended the association")
    try:
        answer = link.send_c_store(file.path, msg_id=message_id)
    except ValueError:
        from pydicom.uid import UID

        return outcome(
            None,
            f"not sent: the peer takes no {UID(file.sop_class).name} as {UID(file.transfer_syntax).name}",
        )
    except (AttributeError, OSError, RuntimeError) as error:
        return outcome(None, f"not sent: {error}")
    if "Status" not in answer:
        return outcome(None, "no answer came: it is not known whether the peer has it")
    return outcome(int(answer.Status), str(answer.get("ErrorComment", "") or ""))


def _read_meta(path: Path) -> DicomFile | None:
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return None
        meta = read_file_meta_info(path)
        return DicomFile(
            path=path,
            sop_class=str(meta.MediaStorageSOPClassUID),
            sop_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax=str(meta.TransferSyntaxUID),
        )
    except (InvalidDicomError, AttributeError, EOFError):
        return None
    except OSError as error:
        raise NodeError(
            code="file_unreadable",
            subject=str(path),
            reason=f"the file cannot be read ({error.strerror})",
            cure="Check the rights of this user",
            exit_code=3,
        ) from error
