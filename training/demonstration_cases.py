"""The cases that the demonstration weights learn from and are measured on, prepared from the published files.

python -m training.demonstration_cases DATA CACHE

DATA holds `nifti/NAME/CONTRAST.nii.gz` (volumes), `lgg2d/*.npz` (axial slices with their skull) and `hgg2d/*.npz`
(axial slices without). CACHE gets a prepared case each; what is there already is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from training.archive import Case, load_case, prepare_folder, prepare_slices, save_case
from training.demonstration import SITES, VALIDATION, site_of

#: Not prepared: the raw scan of a patient whose registered scan is among the volumes, another resolution for the worse.
LEFT_OUT = ("stroke_isles0009_raw",)
#: Folders of single slices with their skull and without, and how far apart slices lie in those publications.
SKULL, STRIPPED = "lgg2d", "hgg2d"
APART_MM = {SKULL: 5.0, STRIPPED: 1.0}


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Cases with their patients and sites: `learned` from, and kept `apart` (VALIDATION); two contrasts at least."""

    learned: list[Case]
    apart: list[Case]


def prepare_cases(data: Path, cache: Path, progress: Callable[[str, int, int], None]) -> None:
    """Prepare whatever of `data` is not in `cache` yet; `progress` is told name, number and how many.

    Raises:
        FileNotFoundError: `data` has no folder `nifti`.
        ImagingError: a case cannot be prepared.
    """
    cache.mkdir(parents=True, exist_ok=True)
    volumes = [path for path in sorted((data / "nifti").iterdir()) if path.name not in LEFT_OUT]
    slices = [path for name in (SKULL, STRIPPED) for path in sorted((data / name).glob("*.npz"))]
    paths = [*volumes, *slices]
    for number, path in enumerate(paths):
        file = cache / f"{path.stem}.npz"
        progress(path.stem, number, len(paths))
        if not file.is_file():
            save_case(_made(path), file)


def _made(path: Path) -> Case:
    if path.is_dir():
        return prepare_folder(path)
    skull = path.parent.name == SKULL
    return prepare_slices(path, with_skull=skull, thickness_mm=APART_MM[path.parent.name])


def read_cases(cache: Path) -> Cases:
    """The prepared cases of a cache."""
    every = [_named(load_case(path)) for path in sorted(cache.glob("*.npz"))]
    usable = [case for case in every if len(case.contrasts) > 1]
    return Cases(
        learned=[case for case in usable if case.name not in VALIDATION],
        apart=[case for case in usable if case.name in VALIDATION],
    )


def _named(case: Case) -> Case:
    """With its patient (one came registered and raw) and its site."""
    return replace(case, patient=case.name.removesuffix("_raw"), site=list(SITES)[site_of(case)])


def main() -> None:
    """Prepare the cases, with a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    given = parser.parse_args()

    def progress(name: str, number: int, of: int) -> None:
        sys.stderr.write(f"[{number + 1}/{of}] {name}\n")
        sys.stderr.flush()

    prepare_cases(given.data, given.cache, progress)


if __name__ == "__main__":
    main()
