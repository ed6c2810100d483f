"""From an inventory to a prepared archive on disk: one study after the other, each whole or not there at all.

A process that is killed leaves finished cases, at most one hidden unfinished folder, and is taken up where it was:
a case is finished when its folder bears the key of the work that made it (which files, which preprocessing).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model import Image, ImagingError
from training.archive.case import FACTS, save_folder
from training.archive.inventory import Inventory, Row
from training.archive.manifest import (
    CASES,
    EXCLUDED,
    MANIFEST,
    SALT,
    SCHEMA,
    SPLITS,
    digest_of,
    files_of,
    fingerprint_of,
    preprocessing,
    read_manifest,
    versions,
    write_manifest,
)
from training.archive.opened import Archive, open_archive
from training.archive.pictures import draw_pair
from training.archive.prepare import Excluded, Prepared, prepare_images
from training.archive.pseudonyms import Pseudonyms, salt_of
from training.archive.segments import read_lesion
from training.archive.splits import Shares, assign, read_splits, write_splits
from training.archive.volumes import read_row
from training.errors import TrainingError

Progress = Callable[[str, int, int], None]
SEED = 20260214
WAY = 1
"""Counts up when the preparation itself changes: archives are then made anew."""
ONE_CONTRAST, FAILED = "one_contrast", "failed"
UNFORESEEN = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What the libraries underneath raise for one odd study; it must not keep the thousand others from being prepared."""


def prepare_archive(
    inventory: Inventory,
    out: Path,
    *,
    shares: Shares | None = None,
    seed: int = SEED,
    progress: Progress = lambda stage, done, total: None,
) -> Archive:
    """Prepare every study of the inventory that shows two contrasts, freeze the splits, write the manifest.

    What is finished already is not made again; cases of earlier inventories stay.

    Args:
        shares: of the patients; None takes those of an archive that exists, else 70/15/15.

    Raises:
        TrainingError: another process prepares this archive, it has another salt, or nothing could be prepared.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        _adopt_salt(inventory, out)
        frozen = read_splits(out / SPLITS)
        (out / CASES).mkdir(exist_ok=True)
        (out / EXCLUDED).mkdir(exist_ok=True)
        for unfinished in (out / CASES).glob(".*.part"):
            shutil.rmtree(unfinished)
        studies = inventory.studies()
        before = read_manifest(out) if (out / MANIFEST).exists() else None
        if before is not None and frozen is None:
            raise TrainingError(
                code="splits",
                subject=str(out / SPLITS),
                reason="the archive was prepared before and its frozen splits are gone",
                cure="Restore the file: made anew it would let patients change sides; or prepare into a new folder",
            )
        held = {} if before is None else before["cases"]
        _refuse_renamed(studies.values(), held, out)
        for done, rows in enumerate(studies.values()):
            progress("studies", done, len(studies))
            try:
                _prepare_study(rows, out, inventory.pseudonyms, held)
            except UNFORESEEN as error:
                _note_failure(rows[0], out, error)
        progress("studies", len(studies), len(studies))
        cases = _cases(out, held)
        if not cases:
            raise _nothing(out)
        whose = {one["patient"]: one["site"] for _, one in sorted(cases.items(), reverse=True)}
        if frozen is not None and shares is not None and frozen.shares != shares:
            raise TrainingError(
                code="shares",
                subject=str(out / SPLITS),
                reason="the splits are frozen with other shares",
                cure="Leave the shares out, or prepare into a new folder",
            )
        taken = {} if frozen is None else frozen.of
        parts = frozen.shares if frozen is not None else shares or Shares()
        shown: dict[str, list[list[str]]] = {}
        for one in cases.values():
            shown.setdefault(one["patient"], []).append(one["contrasts"])
        order = seed if frozen is None else frozen.seed
        splits = assign(whose, shares=parts, seed=order, frozen=taken, shown=shown)
        write_splits(splits, out / SPLITS)
        sides = {patient: splits.of[patient] for patient in whose}
        document = {
            "schema": SCHEMA,
            "seed": splits.seed,
            "salt": inventory.pseudonyms.mark,
            "preprocessing": preprocessing(),
            "versions": versions(),
            "cases": cases,
            "excluded": _excluded(out),
            "fingerprint": fingerprint_of(cases, sides),
        }
        write_manifest(document, out)
    return open_archive(out)


def _refuse_renamed(studies: Iterable[Sequence[Row]], held: Mapping[str, Any], out: Path) -> None:
    """Studies that the archive knows under another patient's name would stand in it twice, on two sides perhaps."""
    known = {one["work"]: name for name, one in held.items()}
    for rows in studies if known else ():
        name, chosen, work = _asked(rows)
        if chosen and known.get(work, name) != name:
            raise TrainingError(
                code="renamed",
                subject=str(out),
                reason=f"its case {known[work]} would now be {name}: patients are named in another way by now",
                cure="Prepare into a new folder; of `train site` name another --out",
            )


def _asked(rows: Sequence[Row]) -> tuple[str, list[Row], str]:
    """What one study is called, which of its series count, and the key of the work."""
    chosen = [row for row in rows if row.chosen and row.contrast is not None]
    work = _work([*chosen, *(row for row in rows if row.part == "lesion" and row.usable)]) if chosen else ""
    return f"{rows[0].patient[:8]}-{rows[0].study[:8]}", chosen, work


def _prepare_study(rows: Sequence[Row], out: Path, pseudonyms: Pseudonyms, held: Mapping[str, Any]) -> None:
    """One study to a case, or to a note of why there is none; `held` are the cases of the manifest before."""
    name, chosen, work = _asked(rows)
    if not chosen:
        return  # the inventory says why of each series
    whole = _whole(out / CASES / name, held.get(name))
    if (whole and _finished(out / CASES / name / FACTS, work)) or _finished(
        out / EXCLUDED / f"{name}.json", work
    ):
        return
    for stale in (out / EXCLUDED).glob(f"{name}[-.]*"):
        stale.unlink()
    if (out / CASES / name).exists():
        shutil.rmtree(out / CASES / name)
    if len(chosen) < 2:
        _note_study(out, name, rows[0], work, [str(chosen[0].contrast)], None)
        return
    images: dict[str, Image] = {}
    unreadable: list[Excluded] = []
    of_series = {row.series: str(row.contrast) for row in chosen}
    for row in (*chosen, *(row for row in rows if row.part == "lesion" and row.usable)):
        shows = str(row.contrast or row.part)
        try:
            if row.part == "lesion" and row.form == "dicom":
                images[shows] = read_lesion(row, images, of_series, pseudonyms)
            else:
                images[shows] = read_row(row, pseudonyms)
        except ImagingError as error:
            unreadable.append(Excluded(contrast=shows, code=error.code, reason=error.reason))
    lesion = images.pop("lesion", None)
    made = prepare_images(
        images,
        name=name,
        lesion=lesion,
        patient=rows[0].patient,
        site=rows[0].site,
        origin={str(row.contrast): _content(row.files) for row in chosen if str(row.contrast) in images},
    )
    for one in (*unreadable, *made.excluded):
        _note_series(out, name, rows[0], one)
    if made.case is None:
        lost = {one.contrast for one in (*unreadable, *made.excluded)}
        left = [str(row.contrast) for row in chosen if row.contrast not in lost]
        _note_study(out, name, rows[0], work, left, made)
        return
    facts = {"work": work, "reference": made.reference, "steps": made.steps}
    save_folder(made.case, out / CASES / name, facts)


def _note_series(out: Path, name: str, row: Row, one: Excluded) -> None:
    picture = out / EXCLUDED / f"{name}-{one.contrast}.png"
    draw_pair(picture, fixed=one.fixed, moving=one.moving, title=f"{one.contrast}: {one.reason}")
    note = {
        "case": name,
        "patient": row.patient,
        "site": row.site,
        "contrast": one.contrast,
        "code": one.code,
        "reason": one.reason,
        "picture": picture.name if picture.exists() else None,
    }
    _write(out / EXCLUDED / f"{name}-{one.contrast}.json", note)


def _note_study(
    out: Path, name: str, row: Row, work: str, left: Sequence[str], made: Prepared | None
) -> None:
    shows = f"only {left[0]}" if left else "no contrast"
    after = " that can be used" if made is not None else ""
    note = {
        "case": name,
        "patient": row.patient,
        "site": row.site,
        "contrast": None,
        "code": ONE_CONTRAST,
        "reason": f"The study shows {shows}{after}: a translation needs two contrasts of one head.",
        "picture": None,
        "work": work,
    }
    _write(out / EXCLUDED / f"{name}.json", note)


def _note_failure(row: Row, out: Path, error: Exception) -> None:
    """Without the key of the work, so that the next run tries again; without the words, which may quote anything."""
    name = f"{row.patient[:8]}-{row.study[:8]}"
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = "" if at is None else f" in {Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
    note = {
        "case": name,
        "patient": row.patient,
        "site": row.site,
        "contrast": None,
        "code": FAILED,
        "reason": f"The study could not be prepared ({type(error).__name__}{place}).",
        "picture": None,
    }
    _write(out / EXCLUDED / f"{name}.json", note)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(document, indent=1) + "\n")
    part.rename(path)


def _work(rows: Sequence[Row]) -> str:
    """What a case follows from: its files by name, size and time, and the way they are prepared."""
    seen = [
        [row.series, row.contrast, row.part, [_stamp(path) for path in row.files]]
        for row in sorted(rows, key=lambda one: one.series)
    ]
    return hashlib.sha256(json.dumps([WAY, preprocessing(), seen]).encode()).hexdigest()


def _stamp(path: Path) -> list[str | int]:
    if not path.exists():
        raise TrainingError(
            code="gone",
            subject=str(path),
            reason="it is in the inventory but no longer there",
            cure="Scan again",
        )
    facts = path.stat()
    return [path.name, facts.st_size, facts.st_mtime_ns]


def _finished(file: Path, work: str) -> bool:
    """Whether this file was written by the same work before; each is written last of what belongs to it."""
    try:
        facts = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):  # none, or one that a power cut left empty
        return False
    return bool(facts.get("work") == work)


def _whole(folder: Path, held: Mapping[str, Any] | None) -> bool:
    """Whether a case has the files that the manifest names, each as long as it says; what is new has no entry yet."""
    if held is None:
        return True
    return all(
        (folder / file).is_file() and (folder / file).stat().st_size == facts["bytes"]
        for file, facts in held["files"].items()
    )


def _content(files: Sequence[Path]) -> str:
    """sha256 over the digests of a series' files, whatever their names and order."""
    return hashlib.sha256("".join(sorted(digest_of(path) for path in files)).encode()).hexdigest()


def _cases(out: Path, before: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of the manifest; digests of an earlier manifest are kept for files of the same work.

    Raises:
        TrainingError: damaged: a case that this inventory does not name, so that it was not made anew.
    """
    entries: dict[str, Any] = {}
    for folder in sorted(one for one in (out / CASES).iterdir() if one.is_dir() and one.name[0] != "."):
        try:
            facts = json.loads((folder / FACTS).read_text())
        except (OSError, ValueError) as error:
            raise TrainingError(
                code="damaged",
                subject=f"{folder}: {FACTS}",
                reason=f"it cannot be read ({type(error).__name__})",
                cure="Scan the folder that this study came from once more, or move the case away",
            ) from error
        held = before.get(folder.name)
        if (
            held is None
            or held["work"] != facts["work"]
            or held["made"] != (folder / FACTS).stat().st_mtime_ns
        ):
            held = {
                "patient": facts["patient"],
                "site": facts["site"],
                "contrasts": facts["contrasts"],
                "lesion": facts["lesion"],
                "work": facts["work"],
                "made": (folder / FACTS).stat().st_mtime_ns,
                "files": files_of(folder),
            }
        entries[folder.name] = held
    return entries


def _excluded(out: Path) -> list[dict[str, Any]]:
    notes = [json.loads(path.read_text()) for path in sorted((out / EXCLUDED).glob("*.json"))]
    return [{key: value for key, value in note.items() if key != "work"} for note in notes]


def _adopt_salt(inventory: Inventory, out: Path) -> None:
    """The archive keeps the salt of its first inventory: only under one salt is a patient the same patient."""
    file = out / SALT
    if not file.exists():
        part = out / f".{SALT}.part"
        part.touch(mode=0o600)
        part.write_text(inventory.salt.hex() + "\n")
        part.rename(file)
    if salt_of(file) != inventory.salt:
        raise TrainingError(
            code="salt",
            subject=str(out),
            reason="the inventory was made with another salt, so no patient of the archive would be recognised",
            cure=f"Scan again with --salt {file}",
        )


def _nothing(out: Path) -> TrainingError:
    notes = _excluded(out)
    reasons = "; ".join(dict.fromkeys(note["reason"].rstrip(".") for note in notes[:3]))
    return TrainingError(
        code="nothing",
        subject=str(out),
        reason="no study could be prepared"
        + (
            f" ({len(notes)} notes in {EXCLUDED}/: {reasons})"
            if notes
            else ": none shows two usable contrasts"
        ),
        cure="See what `medk2n train scan` says of each series",
    )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process, however that ends."""
    with (out / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                code="busy",
                subject=str(out),
                reason="another process prepares this archive",
                cure="Wait for it to end",
            ) from error
        yield
