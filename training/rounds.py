"""The rounds of a site: a training that no longer fits what is asked is set aside, whole, before a new one begins.

The prepared archive with its salt and its frozen sides stays where it is and grows: who has judged one model never
teaches the next one, whatever round that is.
"""

from __future__ import annotations

import json
from pathlib import Path

from model.bundle import stated_digest
from training.errors import TrainingError

EARLIER = "earlier"
#: What one round makes; while it is being set aside, MARK holds the number of the folder that it goes to.
PARTS = ("site.json", "report", "bundle", "champion", "run")
MARK = ".setting-aside"


def claim_source(source: Path, file: Path) -> None:
    """A place of work belongs to one folder of images: two that are called the same would be mixed.

    Raises:
        TrainingError: it belongs to another folder.
    """
    if file.exists():
        known = json.loads(file.read_text())["source"]
        if known != str(source.resolve()):
            raise TrainingError(
                code="other_source", subject=str(file.parent), reason=f"it holds the training on {known}",
                cure="Name a folder of its own with --out; if the images were only moved, delete "
                f"{file.name} there",
            )  # fmt: skip
        return
    part = file.with_name(f".{file.name}.part")
    part.touch(mode=0o600)  # a folder's name may be a patient's
    part.write_text(json.dumps({"source": str(source.resolve())}) + "\n")
    part.rename(file)


def begun_with(out: Path, fingerprint: str) -> bool:
    """Whether the training in `out` began with the archive of this fingerprint."""
    asked = json.loads((out / "run" / "fit.json").read_text())
    return bool(asked["archives"] == [fingerprint])


def misfit(out: Path, *, fingerprint: str, steps: int, batch: int, in_force: str | None) -> str | None:
    """Why the training in `out` is not the one that is asked for; None where it is, or where there is none.

    Args:
        fingerprint: of the archive as it is now. in_force: digest of the model in force; of a training that is not
            finished it does not matter, the copy that it began with stays its yardstick.
    """
    if half_set_aside(out):
        return "the one before was being set aside when that was interrupted"
    file = out / "run" / "fit.json"
    if not file.is_file():
        return None
    if not begun_with(out, fingerprint):
        return "the archive has changed"
    asked = json.loads(file.read_text())
    if (asked["steps"], asked["batch"]) != (steps, batch):
        return f"it was to take {asked['steps']} steps of {asked['batch']} slices, now {steps} of {batch} are asked"
    if (out / "site.json").is_file() and in_force is not None:
        known = {stated_digest(out / "champion"), stated_digest(out / "bundle")}
        if in_force not in known:
            return "another model is in force"
    return None


def half_set_aside(out: Path) -> bool:
    """Whether the round in `out` is on its way to `earlier`: no part of it may be used any more."""
    return (out / MARK).exists()


def set_aside(out: Path) -> Path:
    """Move the round in `out` to `out/earlier/<number>`; one that was cut short goes on there. Gives that folder."""
    mark = out / MARK
    if not mark.exists():
        number = 1
        while (out / EARLIER / str(number)).exists():
            number += 1
        part = mark.with_name(f"{MARK}.part")
        part.write_text(str(number))
        part.replace(mark)
    folder = out / EARLIER / mark.read_text()
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        if (out / name).exists():
            (out / name).rename(folder / name)
    mark.unlink()
    return folder
