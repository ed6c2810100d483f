"""What an archive holds, series by series, and why each may or may not teach.

Two files: the inventory, which names no patient and no path and may be shown to anybody, and beside it a private one
(readable by its owner alone) with the salt of the pseudonyms and the files of every series.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dicom_rules import CONTRASTS
from training.archive.pseudonyms import Pseudonyms
from training.errors import TrainingError

SCHEMA = 1
UNKNOWN_SITE = "unknown"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One series, or one stack of a series that mixes several.

    Attributes:
        patient, study, series: salted hashes.
        form: "dicom" or "nifti".
        part: "image", or what a NIfTI file or a segmentation marks: "lesion", "mask".
        contrast: one of CONTRASTS, or None where the evidence does not suffice.
        usable: may teach; `because` is the code of why not, `reasons` the sentences.
        chosen: counts for its contrast in its study (of several candidates one does, as in the node's plan).
        files: where it lies; never part of the public document.
    """

    patient: str
    study: str
    series: str
    site: str
    form: str
    part: str = "image"
    contrast: str | None
    kind: str = ""
    plane: str = ""
    confidence: float
    instances: int
    usable: bool
    chosen: bool
    because: str | None
    reasons: tuple[str, ...]
    description: str = ""
    files: tuple[Path, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """The public facts."""
        document = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "files"}
        return {**document, "reasons": list(self.reasons)}


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The rows of one scan in a fixed order; `left_out` counts the files that are no image, by reason."""

    salt: bytes = field(repr=False)
    rows: tuple[Row, ...]
    left_out: Mapping[str, int]

    @property
    def pseudonyms(self) -> Pseudonyms:
        """The names that the rows bear."""
        return Pseudonyms(salt=self.salt)

    def studies(self) -> dict[tuple[str, str], tuple[Row, ...]]:
        """(patient, study) -> its rows."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            found.setdefault((row.patient, row.study), []).append(row)
        return {key: tuple(rows) for key, rows in found.items()}

    def summary(self) -> dict[str, Any]:
        """Patients, studies and contrasts in numbers, and what two contrasts the patients have together."""
        shown = {
            key: sorted({str(r.contrast) for r in rows if r.chosen}, key=CONTRASTS.index)
            for key, rows in self.studies().items()
        }
        good = {key for key, contrasts in shown.items() if len(contrasts) > 1}
        pairs: dict[str, set[str]] = {}
        for patient, study in good:
            contrasts = shown[patient, study]
            for at, one in enumerate(contrasts):
                for other in contrasts[at + 1 :]:
                    pairs.setdefault(f"{one}+{other}", set()).add(patient)
        sites: dict[str, set[str]] = {}
        for row in self.rows:
            if row.chosen:
                sites.setdefault(row.site, set()).add(row.patient)
        not_used = Counter(str(r.because) for r in self.rows if not r.usable and r.part == "image")
        return {
            "patients": len({row.patient for row in self.rows}),
            "studies": len(shown),
            "series": sum(row.part == "image" for row in self.rows),
            "patients_for_translation": len({patient for patient, _ in good}),
            "studies_for_translation": len(good),
            "studies_of_one_contrast": sum(len(contrasts) == 1 for contrasts in shown.values()),
            "contrasts": dict(Counter(c for contrasts in shown.values() for c in contrasts)),
            "pairs": {pair: len(patients) for pair, patients in sorted(pairs.items())},
            "sites": {site: len(patients) for site, patients in sorted(sites.items())},
            "not_used": dict(not_used.most_common()),
        }

    def to_json(self) -> dict[str, Any]:
        """The public document: no path, no UID, no name."""
        return {
            "schema": SCHEMA,
            "salt": self.pseudonyms.mark,
            "summary": self.summary(),
            "series": [row.to_json() for row in self.rows],
            "left_out": dict(self.left_out),
        }


def private_file(file: Path) -> Path:
    """Where the salt and the paths of an inventory lie."""
    return file.with_name(f"{file.stem}.private.json")


def write_inventory(inventory: Inventory, file: Path) -> None:
    """Write both files, each aside first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    private = {
        "schema": SCHEMA,
        "salt": inventory.salt.hex(),
        "files": {row.series: [str(path) for path in row.files] for row in inventory.rows},
    }
    for path, document, mode in (
        (private_file(file), private, 0o600),
        (file, inventory.to_json(), 0o644),
    ):
        part = path.with_name(f".{path.name}.part")
        part.touch(mode=mode)
        # A file's name need not be UTF-8; escaped, its bytes come back as they were.
        part.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        part.rename(path)


def read_inventory(file: Path) -> Inventory:
    """The inventory with its paths.

    Raises:
        TrainingError: one of the two files is missing or is none.
    """
    try:
        public = json.loads(file.read_text("utf-8"))
        private = json.loads(private_file(file).read_text("utf-8"))
        if public["schema"] != SCHEMA:
            raise ValueError(f"schema {public['schema']}")
        rows = tuple(_row(one, private["files"][one["series"]]) for one in public["series"])
        made = Inventory(
            salt=bytes.fromhex(private["salt"]), rows=rows, left_out=dict(public.get("left_out", {}))
        )
        if made.pseudonyms.mark != public["salt"]:
            raise ValueError("the private file belongs to another inventory")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            code="inventory",
            subject=str(file),
            reason=f"it cannot be read as an inventory with {private_file(file).name} beside it ({error})",
            cure="Make it with `medk2n train scan DIR --out FILE.json`, and keep both files together",
        ) from error
    return made


def _row(one: Mapping[str, Any], files: Sequence[str]) -> Row:
    facts = {**one, "reasons": tuple(one["reasons"]), "files": tuple(Path(path) for path in files)}
    return Row(**facts)
