"""NIfTI archives as the challenges publish them: what a file shows stands in its name.

BraTS `ID-t1n.nii.gz`, `ID_t1ce.nii.gz`; ISLES and other BIDS trees `sub-X_ses-Y_dwi.nii.gz`; and our own folders of
`T1.nii.gz`, `lesion.nii.gz`. A study is what shares the name before the contrast, else a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from dicom_rules import CONTRASTS
from training.archive.inventory import Row
from training.archive.pseudonyms import Pseudonyms
from training.studies import UNREADABLE

SUFFIXES = (".nii.gz", ".nii")
MAX_VOXEL_MM = 15.0
"""The bound of `dicom_rules.geometry` on the distance of slices: beyond it they sample no volume."""

#: The last word of a name -> contrast, by publisher.
NAMED: Mapping[str, str] = {
    "t1n": "T1", "t1c": "T1C", "t2w": "T2", "t2f": "FLAIR",  # BraTS from 2023
    "t1": "T1", "t1ce": "T1C", "t1gd": "T1C", "t2": "T2", "flair": "FLAIR",  # BraTS to 2021
    "t1w": "T1", "dwi": "DWI", "adc": "ADC",  # ISLES, BIDS
}  # fmt: skip
LESION = frozenset({"seg", "msk", "lesion", "lesions", "lesionmask"})
MASK = frozenset({"mask", "brain", "brainmask"})
_LAST = re.compile(r"^(?:(?P<before>.*)[-_.])?(?P<last>[A-Za-z0-9]+)$")
_BRATS = re.compile(r"^(BraTS-[A-Za-z]+-\d+)-\d+$", re.IGNORECASE)
_BIDS_STUDY = re.compile(r"^(sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)(?:_|$)")
_BIDS_AGENT = re.compile(r"(?:^|_)(?:ce|trc)-(?:gad|gd|agent|contrast|post)", re.IGNORECASE)
#: Folders below a patient's: what was scanned, and a visit by word.
_WHAT = re.compile(
    r"^(?:anat|dwi|perf|func|mri?|nii|nifti|images?|raw|orig|derivatives|rawdata)$", re.IGNORECASE
)
_VISIT = re.compile(
    r"^(?:ses|session|visit|timepoint|tp|followup|fu|baseline|bl|pre|post)[-_ ]?[A-Za-z]?\d*$", re.IGNORECASE
)
#: A visit by number or date, or a patient: below a folder that may itself be a patient's it is a visit.
_EITHER = re.compile(
    r"^(?:(?:scan|study|exam|time)[-_ ]?\d*|[vmt]\d{1,3}|(?:19|20)\d{2}[-_.]?\d{2}[-_.]?\d{2}.*|\d{1,2})$",
    re.IGNORECASE,
)
_MANY = re.compile(
    r"^(?:site|cent(?:re|er)|train\w*|test\w*|val\w*|fold|split|part|batch|data\w*|cohort|group|set)[-_ ]?\d*$",
    re.IGNORECASE,
)
_OUR_COPY = re.compile(r"_raw$")


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a file's name says: `study` is empty where only the folder can tell."""

    study: str
    part: str
    contrast: str | None


def is_nifti(path: Path) -> bool:
    """By its ending; .nii.gz and .nii."""
    return path.name.lower().endswith(SUFFIXES)


def named(path: Path) -> Named:
    """Read a file's name."""
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    found = _LAST.match(stem)
    before, last = (found["before"] or "", found["last"].lower()) if found else (stem, "")
    part = "lesion" if last in LESION else "mask" if last in MASK else "image"
    contrast = NAMED.get(last) if part == "image" else None
    if contrast is None and part == "image" and last.upper() in CONTRASTS:
        contrast = last.upper()
    if contrast == "T1" and _BIDS_AGENT.search(before):
        contrast = "T1C"
    bids = _BIDS_STUDY.match(stem)
    if bids:
        return Named(study=bids[1], part=part, contrast=contrast)
    known = part != "image" or contrast is not None
    return Named(study=before if known else "", part=part, contrast=contrast)


def patient_of(study: str) -> str:
    """The patient of a study's name: BraTS counts visits, BIDS sessions, and we keep unregistered copies as `_raw`."""
    if brats := _BRATS.match(study):
        return brats[1]
    if study.startswith("sub-"):
        return study.partition("_")[0]
    return _OUR_COPY.sub("", study)


def folder_of_patient(folder: PurePath) -> str:
    """Whose folder it is, from its parts below the root: `sub-X` where there is one, else the last that is no visit.

    A visit and what was scanned in it lie below the patient: `p01/ses-1`, `p01/2024-01-05`, `p01/anat`. A number alone
    is a visit below a folder with a number, else a patient: `p01/2`, `train/02`.
    """
    subjects = [part for part in folder.parts if part.startswith("sub-")]
    if subjects:
        return subjects[0].partition("_")[0]
    parts = [part for part in folder.parts if not _WHAT.match(part)] or list(folder.parts)
    while len(parts) > 1 and (
        _VISIT.match(parts[-1]) or (_EITHER.match(parts[-1]) and _may_be_one(parts[-2]))
    ):
        parts.pop()
    return _OUR_COPY.sub("", parts[-1])


def _may_be_one(name: str) -> bool:
    """Whether a folder may be one patient's, and not a folder of many: it bears a number."""
    return any(letter.isdigit() for letter in name) and not _MANY.match(name)


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """Where files are named from, so that the same tree in another place gives the same names."""

    name: str
    root: Path | None
    site: str
    pseudonyms: Pseudonyms

    def within(self, path: Path) -> str:
        """The path below the root."""
        if self.root is None or not path.is_relative_to(self.root):
            return path.name
        return f"{self.name}/{path.relative_to(self.root).as_posix()}"

    def below(self, folder: Path) -> PurePath:
        """The parts of a folder below the root; the root's own name where there is none."""
        if self.root is None or not folder.is_relative_to(self.root) or folder == self.root:
            return PurePath(folder.resolve().name or "root")
        return PurePath(folder.relative_to(self.root))


def nifti_rows(
    files: Iterable[Path],
    *,
    site: str,
    pseudonyms: Pseudonyms,
    root: Path | None = None,
    tree: str = "",
    look: Callable[[], None] = lambda: None,
) -> list[Row]:
    """One row for every NIfTI file, its header read and its voxels not; `look` is called after each.

    `root` is the folder below which they lie, `tree` what tells it from others of the site.
    """
    named_from = _Tree(name=tree, root=root, site=site, pseudonyms=pseudonyms)
    studies: dict[tuple[str, str], list[tuple[Path, Named]]] = {}
    whose: dict[tuple[str, str], str] = {}
    for file in files:
        said = named(file)
        # Parts of a study that is named in the file may lie in several folders (ISLES: derivatives/).
        key = (said.study, tree) if said.study else (file.parent.name, named_from.within(file.parent))
        studies.setdefault(key, []).append((file, said))
        whose[key] = (
            patient_of(said.study) if said.study else folder_of_patient(named_from.below(file.parent))
        )
    rows: list[Row] = []
    for (study, where), members in sorted(studies.items()):
        taken: set[str] = set()
        for file, said in sorted(members, key=lambda one: one[0]):
            rows.append(_row(file, said, (whose[study, where], study), where, taken, named_from))
            look()
    return rows


def _row(file: Path, said: Named, of: tuple[str, str], where: str, taken: set[str], tree: _Tree) -> Row:
    patient, study = of
    site, pseudonyms = tree.site, tree.pseudonyms
    because, sentence = _problem(file)
    word = said.contrast or said.part
    shows = f'The name ends in "{_ending(file, study)}": {word}.'
    if because is None and said.part == "image" and said.contrast is None:
        because, shows = "no_contrast", "The name of the file names none of the contrasts."
    if because is None and said.part == "mask":
        because, sentence = "mask", "A mask; the brain is found as the node finds it, without one."
    if because is None and word in taken:
        because, sentence = "second_file", f"Another file of the study is its {word} already."
    usable = because is None
    if usable:
        taken.add(word)
    return Row(
        patient=pseudonyms.of("patient", "nifti", patient),
        study=pseudonyms.of("study", "nifti", site, where, study),
        series=pseudonyms.of("series", "nifti", site, tree.within(file)),
        site=site,
        form="nifti",
        part=said.part,
        contrast=said.contrast,
        kind="structural" if said.contrast in ("T1", "T1C", "T2", "FLAIR") else "",
        confidence=1.0 if said.contrast else 0.0,
        instances=1,
        usable=usable,
        chosen=usable and said.part == "image",
        because=because,
        reasons=(shows, *((sentence,) if sentence else ())),
        description=_ending(file, study),
        files=(file,),
    )


def _ending(file: Path, study: str) -> str:
    """The file's name without that of its study, which may be the patient's."""
    rest = file.name[len(study) :] if file.name.startswith(study) else file.name
    known = named(file)
    return rest if known.contrast or known.part != "image" else ""


def _problem(file: Path) -> tuple[str | None, str]:
    """Why a file can be no volume, from its header: code and sentence."""
    try:
        image = nibabel.load(file)
        shape = tuple(int(n) for n in image.shape)
        affine = np.asarray(image.affine, dtype=np.float64)
        description = bytes(image.header["descrip"]).rstrip(b"\0").decode("ascii", "replace")
    except (*UNREADABLE, ImageFileError, HeaderDataError) as error:
        return "unreadable", f"It cannot be read as NIfTI ({type(error).__name__})."
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if description.startswith("SYNTHETIC"):
        return "synthetic", "Its header says that it is synthetic: it was computed and not acquired."
    if len(shape) != 3:
        return "geometry", f"It has {len(shape)} dimensions, not three."
    if min(shape) < 2:
        return "geometry", "It is a single slice, and one slice is no volume."
    if not np.isfinite(affine).all() or abs(float(np.linalg.det(affine[:3, :3]))) < 1e-6:
        return "geometry", "Its affine cannot be inverted."
    if float(sizes.max()) > MAX_VOXEL_MM:
        return "geometry", f"Its slices lie {sizes.max():.1f} mm apart (at most {MAX_VOXEL_MM:.0f} mm)."
    return None, ""
