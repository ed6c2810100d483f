"""Remove the top-level package `training` that installing sam2 leaves behind.

sam2 1.1.0 comes as a source distribution that carries Meta's training scripts as a top-level package `training`.
Ours has the same name: beside an editable install theirs hides ours, beside a wheel the files of both mix, and
`pip uninstall sam2` would delete our `training/__init__.py`. We need only the package `sam2`.

A file goes only if sam2's own RECORD lists it with the digest it has now, so nothing of ours (nor a file that somebody
changed) is ever deleted, whichever was installed first; then the RECORD and `top_level.txt` forget it. Running it again
changes nothing.

The Makefile runs this file by its path, before the project is installed: standard library only.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

STRAY = "training"


@dataclass(frozen=True, kw_only=True)
class Stray:
    """What sam2's RECORD claims under `training/`, as it lies on the disk now (paths inside site-packages)."""

    theirs: tuple[str, ...]  # exactly as sam2 installed it
    foreign: tuple[str, ...]  # the name is claimed, the content is somebody else's (ours, in a wheel install)


def find(site_packages: Path) -> Stray:
    """Look, without changing anything. Byte code counts as its source's; paths are relative and sorted."""
    theirs: list[str] = []
    foreign: list[str] = []
    for name, digest in _claims(site_packages):
        path = site_packages / name
        if path.suffix == ".pyc" or not path.is_file():
            continue
        (theirs if _digest(path) == digest else foreign).append(name)
    return Stray(theirs=tuple(sorted(theirs)), foreign=tuple(sorted(foreign)))


def remove(site_packages: Path) -> tuple[str, ...]:
    """Delete sam2's stray package and let sam2's RECORD forget it; gives the names of the deleted files."""
    stray = find(site_packages)
    for name in stray.theirs:
        path = site_packages / name
        path.unlink()
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()
    _remove_empty_folders(site_packages / STRAY)
    _forget(site_packages)
    return stray.theirs


def _records(site_packages: Path) -> list[Path]:
    return sorted(site_packages.glob("sam2-*.dist-info/RECORD"))


def _claims(site_packages: Path) -> list[tuple[str, str]]:
    """(name, "sha256=...") of every row of sam2's RECORD under `training/`."""
    claims = []
    for record in _records(site_packages):
        with record.open(newline="", encoding="utf-8") as lines:
            claims += [
                (row[0], row[1]) for row in csv.reader(lines) if row and row[0].startswith(f"{STRAY}/")
            ]
    return claims


def _digest(path: Path) -> str:
    """In the form of a wheel's RECORD (PEP 376, PEP 427): sha256=, url-safe base64, no padding."""
    raw = hashlib.sha256(path.read_bytes()).digest()
    return "sha256=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _remove_empty_folders(top: Path) -> None:
    if not top.is_dir():
        return
    for folder, _, _ in os.walk(top, topdown=False):
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def _forget(site_packages: Path) -> None:
    """Strike `training` from sam2's RECORD and top_level.txt, so that uninstalling sam2 cannot reach our files."""
    for record in _records(site_packages):
        top_level = record.parent / "top_level.txt"
        top_level_row: list[str] | None = None
        if top_level.is_file():
            kept = [
                line for line in top_level.read_text(encoding="utf-8").splitlines() if line.strip() != STRAY
            ]
            _replace(top_level, "".join(f"{line}\n" for line in kept))
            name = top_level.relative_to(site_packages).as_posix()
            top_level_row = [name, _digest(top_level), str(top_level.stat().st_size)]
        with record.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.reader(lines) if row and not row[0].startswith(f"{STRAY}/")]
        if top_level_row is not None:
            rows = [top_level_row if row[0] == top_level_row[0] else row for row in rows]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        _replace(record, text.getvalue())


def _replace(path: Path, text: str) -> None:
    if path.read_text(encoding="utf-8") == text:
        return
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def main() -> int:
    """Clean the environment this Python belongs to (or the site-packages folders named as arguments)."""
    places = [Path(argument) for argument in sys.argv[1:]] or [Path(sysconfig.get_path("purelib"))]
    for place in places:
        removed = remove(place)
        print(
            f"removed sam2's stray package '{STRAY}' ({len(removed)} files)"
            if removed
            else "nothing to clear away"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
