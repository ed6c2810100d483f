"""The rounds of a site: a training that no longer fits what is asked is set aside, whole, before a new one begins.

The prepared archive with its salt and its frozen sides stays where it is and grows: who has judged one model never
teaches the next one, whatever round that is.
"""

from __future__ import annotations

import json
from pathlib import Path

from model.bundle import stated_digest

EARLIER = "earlier"
#: What one round makes, in the order in which it is set aside: the training last, since it tells whether that is done.
PARTS = ("site.json", "report", "bundle", "champion", "run")


def misfit(out: Path, *, fingerprint: str, steps: int, batch: int, in_force: str | None) -> str | None:
    """Why the training in `out` is not the one that is asked for; None where it is, or where there is none.

    Args:
        fingerprint: of the archive as it is now. in_force: digest of the model in force; of a training that is not
            finished it does not matter, the copy that it began with stays its yardstick.
    """
    file = out / "run" / "fit.json"
    if not file.is_file():
        return None
    asked = json.loads(file.read_text())
    if asked["archives"] != [fingerprint]:
        return "the archive has changed"
    if (asked["steps"], asked["batch"]) != (steps, batch):
        return f"it was to take {asked['steps']} steps of {asked['batch']} slices, now {steps} of {batch} are asked"
    if (out / "site.json").is_file() and in_force is not None:
        known = {stated_digest(out / "champion"), stated_digest(out / "bundle")}
        if in_force not in known:
            return "another model is in force"
    return None


def set_aside(out: Path) -> Path:
    """Move the round in `out` to `out/earlier/<number>`; one that was cut short goes on there. Gives that folder."""
    number = 1
    while (out / EARLIER / str(number) / "run").exists():
        number += 1
    folder = out / EARLIER / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        if (out / name).exists():
            (out / name).rename(folder / name)
    return folder
