"""A folder of DICOM files, read as studies and series: what `classify`, `plan` and `train scan` look at.

Every file is looked at, whatever its name; what is no DICOM image is listed with the reason and left out.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from dicom_rules.classify import ClassifyRules, SeriesClass, classify, in_their_study, main_stack
from dicom_rules.errors import GeometryError
from dicom_rules.geometry import check
from dicom_rules.reading import text
from training.errors import TrainingError

NEEDED = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
BLANK_SAMPLES = 3
"""So many slices, spread over the series, are decoded first; only when all are constant is the rest looked at."""

UNREADABLE = (
    InvalidDicomError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    BytesLengthException,
    struct.error,
    zlib.error,
)
"""What pydicom, and decompression below it, raise for bytes that are no data set, or one cut short."""


UNFORESEEN = (*UNREADABLE, ArithmeticError, AssertionError, LookupError, RuntimeError)
"""What pydicom and the libraries beside it raise for the odd values of one study, when these are looked at."""


@dataclass(frozen=True, kw_only=True)
class SeriesFolder:
    """One series: its files, their headers (no pixels), and the folder that holds them."""

    path: Path
    files: tuple[Path, ...]
    headers: tuple[Dataset, ...]


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The series of a folder by study, both in order of appearance, and what was left out."""

    studies: dict[str, tuple[SeriesFolder, ...]]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, kw_only=True)
class Classified:
    """A folder with the class of every series, by study."""

    studies: dict[str, tuple[tuple[SeriesFolder, SeriesClass], ...]]
    skipped: tuple[Skipped, ...] = field(default=())


def read_folder(directory: Path) -> Folder:
    """Read every header below the folder (a single file is taken as well); TrainingError when there is none."""
    if not directory.exists():
        raise TrainingError(
            code="no_such_folder",
            subject=str(directory),
            reason="it does not exist",
            cure="Name a folder of DICOM files",
        )
    closed: list[Skipped] = []
    read = read_files(
        files_below(
            directory,
            unread=lambda error: closed.append(
                Skipped(path=Path(str(error.filename)), reason=unread_words(error))
            ),
        )
    )
    folder = replace(read, skipped=(*read.skipped, *closed))
    if not folder.studies:
        counted = f"{len(folder.skipped)} files were looked at" if folder.skipped else "it is empty"
        raise TrainingError(
            code="no_dicom",
            subject=str(directory),
            reason=f"it holds no DICOM object ({counted})",
            cure="Name a folder of DICOM files",
        )
    return folder


def read_files(files: Iterable[Path], *, look: Callable[[], None] = lambda: None) -> Folder:
    """Read the header of every file; `look` is called after each. No DICOM object among them is no error."""
    found: dict[str, dict[str, list[tuple[Path, Dataset]]]] = {}
    skipped: list[Skipped] = []
    with warnings.catch_warnings():
        # pydicom warns of every value that breaks its VR; the rules read tolerantly and say what they miss.
        warnings.simplefilter("ignore")
        for file in files:
            try:
                header = _header(file)
            except UNREADABLE as error:
                skipped.append(Skipped(path=file, reason=_reason(error)))
            else:
                series = found.setdefault(text(header, "StudyInstanceUID"), {})
                series.setdefault(text(header, "SeriesInstanceUID"), []).append((file, header))
            look()
    studies = {uid: tuple(_series(pairs) for pairs in series.values()) for uid, series in found.items()}
    return Folder(studies=studies, skipped=tuple(skipped))


def files_by_study(
    files: Iterable[Path], *, look: Callable[[], None] = lambda: None
) -> tuple[dict[str, tuple[Path, ...]], tuple[Skipped, ...]]:
    """The files of each study, and what is no DICOM object; of an archive too large for its headers in memory.

    `look` is called after each file.
    """
    found: dict[str, list[Path]] = {}
    skipped: list[Skipped] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            try:
                header = _header(file, only=(*NEEDED, "SOPClassUID", "DirectoryRecordSequence"))
            except UNREADABLE as error:
                skipped.append(Skipped(path=file, reason=_reason(error)))
            else:
                found.setdefault(text(header, "StudyInstanceUID"), []).append(file)
            look()
    return {uid: tuple(paths) for uid, paths in found.items()}, tuple(skipped)


def classify_folder(directory: Path, *, headers_only: bool, rules: ClassifyRules) -> Classified:
    """Read and classify every series below the folder; pixels are decoded only without `headers_only`.

    A study whose headers are damaged so that they cannot be classified is left out, its files with the reason.
    """
    folder = read_folder(directory)
    studies: dict[str, tuple[tuple[SeriesFolder, SeriesClass], ...]] = {}
    skipped = [*folder.skipped]
    for uid, series in folder.studies.items():
        alone = Folder(studies={uid: series}, skipped=())
        try:
            studies |= classify_read(alone, headers_only=headers_only, rules=rules).studies
        except UNFORESEEN as error:
            reason = f"a study with damaged headers ({_reason(error)})"
            skipped += [Skipped(path=file, reason=reason) for one in series for file in one.files]
    return Classified(studies=studies, skipped=tuple(skipped))


def classify_read(
    folder: Folder, *, headers_only: bool, rules: ClassifyRules, look: Callable[[], None] = lambda: None
) -> Classified:
    """Classify every series of a folder that was read; `look` is called after each study."""
    studies: dict[str, tuple[tuple[SeriesFolder, SeriesClass], ...]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for uid, series in folder.studies.items():
            studies[uid] = tuple(zip(series, _classes(series, headers_only, rules), strict=True))
            look()
    return Classified(studies=studies, skipped=folder.skipped)


def _classes(
    series: Sequence[SeriesFolder], headers_only: bool, rules: ClassifyRules
) -> tuple[SeriesClass, ...]:
    return in_their_study([_classify(one, headers_only, rules) for one in series])


def _classify(series: SeriesFolder, headers_only: bool, rules: ClassifyRules) -> SeriesClass:
    problem: str | None = None
    blank: bool | None = None
    if text(series.headers[0], "Modality").upper() == "MR":
        try:
            images = main_stack(series.headers)
            check(images.instances, only=images.only)
        except GeometryError as error:
            problem = f"{error.subject}: {error.reason}"
        if not headers_only:
            try:
                blank = _is_blank(series.files)
            except (*UNREADABLE, RuntimeError) as error:
                problem = problem or f"the pixels cannot be decoded ({_reason(error)})"
    return classify(series.headers, pixels_blank=blank, geometry_problem=problem, overrides=rules)


def _is_blank(files: Sequence[Path]) -> bool:
    """Whether every image is of one constant value."""
    last = len(files) - 1
    sampled = sorted({round(last * step / (BLANK_SAMPLES - 1)) for step in range(BLANK_SAMPLES)})
    order = [*sampled, *(index for index in range(len(files)) if index not in sampled)]
    for index in order:
        pixels = dcmread(files[index]).pixel_array
        if pixels.min() != pixels.max():
            return False
    return True


def files_below(directory: Path, *, unread: Callable[[OSError], None] = lambda error: None) -> Iterator[Path]:
    """Every file below the folder in order of name, through links as well; a single file is given as it is.

    A folder that is reached in two ways is looked at once. `unread` is told of each that cannot be read.
    """
    if directory.is_file():
        yield directory
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(directory, followlinks=True, onerror=unread):
        facts = Path(folder).stat()
        if (facts.st_dev, facts.st_ino) in seen:
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders.sort()
        for name in sorted(names):
            yield Path(folder) / name


def unread_words(error: OSError) -> str:
    """Why a folder was left out, without its name."""
    return f"a folder that cannot be read ({error.strerror or type(error).__name__})"


def _header(file: Path, *, only: Sequence[str] | None = None) -> Dataset:
    """The header of one DICOM object; also of one without the 128-byte preamble, as old archives write them."""
    if file.stat().st_size == 0:
        raise ValueError("the file is empty")
    wanted = None if only is None else list(only)
    try:
        header: Dataset = dcmread(file, stop_before_pixels=True, specific_tags=wanted)
    except InvalidDicomError:
        header = dcmread(file, stop_before_pixels=True, force=True, specific_tags=wanted)
        if "SOPClassUID" not in header:
            raise ValueError("it is no DICOM file") from None
    if text(header, "SOPClassUID") == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in header:
        raise ValueError("it is a DICOMDIR, no image")
    missing = [keyword for keyword in NEEDED if not text(header, keyword)]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    return header


def _series(pairs: Sequence[tuple[Path, Dataset]]) -> SeriesFolder:
    files = tuple(file for file, _ in pairs)
    parents = {file.parent for file in files}
    path = (
        parents.pop() if len(parents) == 1 else Path(os.path.commonpath([str(file.parent) for file in files]))
    )
    return SeriesFolder(path=path, files=files, headers=tuple(header for _, header in pairs))


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
