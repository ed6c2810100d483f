"""MR studies of a PACS fetched into a folder for training: C-FIND tells which there are, C-GET brings them.

C-GET and not C-MOVE: the images come over the association that asked for them, so that the PACS need not know our
address, and the node's listener, which would synthesise from them, has no part in it (PS3.4 annex C.4.3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    MRSpectroscopyStorage,
    RawDataStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from medk2n_node.cli.calling import Peer, association
from medk2n_node.config import Config
from medk2n_node.errors import PeerError
from medk2n_node.store.files import sync_folder, write_synced

QUERY, RETRIEVE = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet
IMAGES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
#: What else lies in MR series: it is taken along, or a study that holds one would never be whole. A segmentation marks
#: lesions.
CLASSES = (
    *IMAGES, EnhancedMRColorImageStorage, MRSpectroscopyStorage, RawDataStorage, SecondaryCaptureImageStorage,
    SegmentationStorage,
)  # fmt: skip
MODALITIES = ("MR", "SEG")
SYNTAXES = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless,
)  # fmt: skip
SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700
PENDING = (0xFF00, 0xFF01)
#: Ends the name of a study's folder, and of a file, as long as not all of it has come.
UNFINISHED = ".part"


@dataclass(kw_only=True)
class Pulled:
    """What a pull brought. `trouble`: a sentence for every study that is not whole; the next pull asks for it again."""

    studies: int = 0
    images: int = 0
    there: int = 0
    trouble: list[str] = field(default_factory=list)


def pull(
    config: Config,
    peer: Peer,
    folder: Path,
    *,
    since: date | None = None,
    until: date | None = None,
    most: int | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, of: None,
) -> Pulled:
    """Fetch MR series and segmentations of the peer's studies, a folder each; whole studies are not asked for again.

    Args:
        since, until: StudyDate, both included.
        most: at most so many studies, the newest first.

    Raises:
        PeerError: it cannot be reached, does not answer C-FIND, or does not serve C-GET.
    """
    wanted = _studies(config, peer, since, until)[:most]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    pulled = Pulled()
    for number, uid in enumerate(wanted):
        progress("fetching", number, len(wanted))
        whole = folder / hashlib.sha256(uid.encode()).hexdigest()[:16]
        if whole.exists():
            pulled.there += 1
            continue
        part = whole.with_suffix(UNFINISHED)
        images, trouble = _get_study(config, peer, uid, part)
        pulled.images += images
        if trouble:
            pulled.trouble.append(f"Study {whole.name}: {trouble}")
        elif part.exists():
            part.rename(whole)
            sync_folder(folder)
            pulled.studies += 1
    progress("fetching", len(wanted), len(wanted))
    return pulled


def whole_files(folder: Path) -> list[Path]:
    """The files of all studies that have come whole."""
    studies = [one for one in sorted(folder.iterdir()) if one.is_dir() and one.suffix != UNFINISHED]
    return [path for study in studies for path in sorted(study.iterdir())]


def _studies(config: Config, peer: Peer, since: date | None, until: date | None) -> list[str]:
    """Study Instance UIDs with MR, newest first."""
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = ""
    query.ModalitiesInStudy = "MR"
    query.StudyDate = _range(since, until)
    with association(config, peer, [build_context(QUERY)]) as link:
        found = _find(link, peer, query)
    # A PACS may ignore a key that it does not support (PS3.4 section C.2.2.1.3) and give studies without MR.
    holds = [
        one
        for one in found
        if "MR" in _listed(one.get("ModalitiesInStudy")) or not one.get("ModalitiesInStudy")
    ]
    holds.sort(key=lambda one: str(one.get("StudyDate", "")), reverse=True)
    return list(dict.fromkeys(str(one.StudyInstanceUID) for one in holds if one.get("StudyInstanceUID")))


def _get_study(config: Config, peer: Peer, uid: str, place: Path) -> tuple[int, str]:
    """Its MR series and segmentations into `place`; gives the objects and what went wrong, in words."""
    store = _Store(place)
    contexts = [
        build_context(QUERY),
        build_context(RETRIEVE),
        *(build_context(one, list(SYNTAXES)) for one in CLASSES),
    ]
    roles: list[SCP_SCU_RoleSelectionNegotiation] = [build_role(one, scp_role=True) for one in CLASSES]
    with association(config, peer, contexts, roles=roles, on_store=store) as link:
        _refuse_without_get(link, peer)
        # A PACS may ignore the modality asked for and name every series twice.
        series = dict.fromkeys(one for modality in MODALITIES for one in _series(link, peer, uid, modality))
        for one in series:
            words = _get_series(link, uid, one)
            if words:
                return store.count, store.words or words
    return store.count, store.words


def _get_series(link: Association, study: str, series: str) -> str:
    """C-GET of one series; gives what went wrong, "" where nothing did."""
    asked = Dataset()
    asked.QueryRetrieveLevel = "SERIES"
    asked.StudyInstanceUID, asked.SeriesInstanceUID = study, series
    last = None
    for status, _ in link.send_c_get(asked, RETRIEVE):
        if "Status" not in status:
            return "the PACS stopped answering; pull again to go on."
        last = status
    if last is None or int(last.Status) == SUCCESS:
        return ""
    failed = int(last.get("NumberOfFailedSuboperations", 0) or 0)
    return f"the PACS ended with status {int(last.Status):04X}, {failed} images did not come; see its log, pull again."


class _Store:
    """Takes the C-STOREs of a C-GET: each image into a file of its own, whole or not at all."""

    def __init__(self, place: Path) -> None:
        self.place, self.count, self.words = place, 0, ""

    def __call__(self, event: evt.Event) -> int:
        self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = hashlib.sha256(str(event.file_meta.MediaStorageSOPInstanceUID).encode()).hexdigest()[:24]
        target, part = self.place / f"{name}.dcm", self.place / f"{name}{UNFINISHED}"
        try:
            part.unlink(missing_ok=True)
            write_synced(part, event.encoded_dataset())
            part.replace(target)
        except OSError as error:
            self.words = f"a file could not be written ({error.strerror}); make room and pull again."
            return OUT_OF_RESOURCES
        self.count += 1
        return SUCCESS


def _find(link: Association, peer: Peer, query: Dataset) -> list[Dataset]:
    found = []
    for status, answer in link.send_c_find(query, QUERY):
        code = status.get("Status")
        if code is None or (int(code) not in (SUCCESS, *PENDING)):
            said = "no answer came" if code is None else f"it answered with status {int(code):04X}"
            raise PeerError(
                code="find_failed", subject=str(peer), reason=f"the C-FIND was not answered: {said}",
                cure="Let the PACS answer queries of our AE title",
            )  # fmt: skip
        if answer is not None:
            found.append(answer)
    return found


def _refuse_without_get(link: Association, peer: Peer) -> None:
    accepted = {str(one.abstract_syntax) for one in link.accepted_contexts}
    if str(RETRIEVE) not in accepted or not accepted & set(map(str, IMAGES)):
        raise PeerError(
            code="no_get", subject=str(peer), reason="it does not hand out MR images by C-GET",
            cure="Allow C-GET to our AE title there, or send the studies to this node and scan with --received",
        )  # fmt: skip


def _series(link: Association, peer: Peer, study: str, modality: str) -> list[str]:
    """Series Instance UIDs of a study's series of one modality; a series without one counts as MR."""
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID, query.Modality = study, "", modality
    return [
        str(one.SeriesInstanceUID)
        for one in _find(link, peer, query)
        if one.get("SeriesInstanceUID") and str(one.get("Modality", "") or "MR") == modality
    ]


def _listed(value: Any) -> Sequence[str]:
    return (
        [str(one) for one in value]
        if isinstance(value, Sequence) and not isinstance(value, str)
        else [str(value)]
    )


def _range(since: date | None, until: date | None) -> str:
    if since is None and until is None:
        return ""
    return "-".join("" if day is None else day.strftime("%Y%m%d") for day in (since, until))
