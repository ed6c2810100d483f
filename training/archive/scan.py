"""From folders and files to an inventory: DICOM and NIfTI side by side, several sites in one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicom_rules.classify import ClassifyRules
from training.archive.dicom_tree import dicom_rows
from training.archive.inventory import UNKNOWN_SITE, Inventory, Row
from training.archive.nifti_tree import is_nifti, nifti_rows
from training.archive.pseudonyms import Pseudonyms
from training.errors import TrainingError
from training.studies import UNFORESEEN, files_below, files_by_study, unread_words

Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""

_QUOTED = re.compile(r"""\s*:?\s*(['"]).*?\1""")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where images lie and whose they are: every file below `folder`, or exactly `files`."""

    folder: Path | None = None
    files: Sequence[Path] = field(default=(), repr=False)
    site: str = UNKNOWN_SITE


def scan(
    places: Sequence[Place],
    *,
    salt: bytes,
    rules: ClassifyRules | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Inventory:
    """Read what the places hold; only reads, and only headers but for a few slices of each DICOM series.

    Args:
        salt: of the pseudonyms; the same salt gives the same names in every scan.
        rules: the site's own word on its series, as in `medk2n classify`.

    Raises:
        TrainingError: a place does not exist, or there is no image in any of them.
    """
    names = Pseudonyms(salt=salt)
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    trees: Counter[tuple[str, str]] = Counter()
    for place in places:
        files = _files(place, left_out)
        tree = "" if place.folder is None else place.folder.resolve().name
        trees[place.site, tree] += 1
        if trees[place.site, tree] > 1:  # north/images beside south/images
            tree = f"{tree} {trees[place.site, tree]}"
        volumes = [path for path in files if is_nifti(path)]
        others = [path for path in files if not is_nifti(path)]
        # The others are looked at twice: whose study each is, then study by study.
        step = _Counter(len(volumes) + 2 * len(others), progress)
        rows += nifti_rows(
            volumes, site=place.site, pseudonyms=names, root=place.folder, tree=tree, look=step
        )
        studies, skipped = files_by_study(others, look=step)
        left_out.update(_QUOTED.sub("", one.reason) for one in skipped)
        step.done += len(skipped)
        for paths in studies.values():
            before = step.done
            try:
                rows += dicom_rows(
                    paths, site=place.site, pseudonyms=names, rules=rules or ClassifyRules(), look=step
                )
            except UNFORESEEN as error:
                # One study's damaged headers must not cost the thousand others.
                left_out[f"of a study that cannot be read ({type(error).__name__})"] += len(paths)
                step.done = before + len(paths)
    if not rows:
        named = ", ".join(str(place.folder or "the files given") for place in places)
        raise TrainingError(
            code="no_images",
            subject=named,
            reason=f"no DICOM object and no NIfTI file was found among {sum(left_out.values())} files",
            cure="Name a folder of DICOM files, or of NIfTI files named by contrast (T1.nii.gz, ID-t1n.nii.gz)",
        )
    return Inventory(salt=salt, rows=tuple(_each_once(rows)), left_out=dict(left_out.most_common()))


class _Counter:
    """Called once for each file that has been read."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def __call__(self) -> None:
        self.done += 1
        self.progress("headers", self.done, self.total)


def _files(place: Place, left_out: Counter[str]) -> list[Path]:
    if place.folder is None:
        return list(place.files)
    if not place.folder.exists():
        raise TrainingError(
            code="no_such_folder",
            subject=str(place.folder),
            reason="it does not exist",
            cure="Name a folder of DICOM or NIfTI files",
        )
    return list(files_below(place.folder, unread=lambda error: left_out.update([unread_words(error)])))


def _each_once(rows: Sequence[Row]) -> list[Row]:
    """A series that lies in two places counts in the first whole one; a study keeps one series for each contrast."""
    best: dict[str, Row] = {}
    for row in rows:
        known = best.get(row.series)
        if known is None or (row.usable, row.instances) > (known.usable, known.instances):
            best[row.series] = row
    counted: set[tuple[str, str, str | None]] = set()
    kept: list[Row] = []
    for row in best.values():
        one = row
        key = (row.patient, row.study, row.contrast)
        if row.chosen and key in counted:
            one = replace(
                row,
                chosen=False,
                reasons=("The study has this contrast already, in another folder.", *row.reasons),
            )
        if one.chosen:
            counted.add(key)
        kept.append(one)
    return sorted(kept, key=lambda one: (one.site, one.patient, one.study))
