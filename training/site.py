"""From a folder of images to a model that a site may put into service: every step in order, each of them resumable.

OUT/archive/    the prepared cases and the frozen sides of the patients     OUT/inventory.json  what was found
OUT/run/        the training                                                OUT/bundle/         calibrated, sealed
OUT/champion/   the model in force when it began
OUT/report/     report.html, report.json: beside the model in force         OUT/site.json       the offer
OUT/smoke/      the same of a smoke run, on the same archive                OUT/earlier/        rounds before this one
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_rules.classify import ClassifyRules
from model import Bundle, load_bundle
from model.bundle import copy_sealed, stated_digest
from training.archive import Archive, Place, open_archive, prepare_archive, salt_of, scan, write_inventory
from training.calibrate import Calibrated, calibrate, seal_calibrated
from training.errors import PromotionRefused
from training.evaluate import from_all_others, patterns, write_report
from training.fitting import Fitted, Request, fit
from training.promote import Match, compare
from training.rounds import begun_with, claim_source, half_set_aside, misfit, set_aside

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How much of everything.

    Attributes:
        steps: of the training; minutes: as many of them as fit, None = all.
        slices: of each case, in the calibration. every: slices are taken every so many in the comparison.
        all_patterns: compare every set of sources; else every contrast of a case from all its others.
        folder: below OUT, where such a round works; "" for OUT itself.
        learning_rate: of the training; None: what `train fit` takes.
    """

    steps: int
    minutes: float | None
    batch: int
    slices: int
    every: int
    all_patterns: bool
    folder: str = ""
    learning_rate: float | None = None


FULL = Schedule(steps=2000, minutes=None, batch=6, slices=8, every=2, all_patterns=True)
#: To see in minutes that everything works. So few steps teach nothing; at so low a rate they do no harm either.
SMOKE = Schedule(
    steps=30,
    minutes=1.0,
    batch=3,
    slices=1,
    every=100,
    all_patterns=False,
    folder="smoke",
    learning_rate=2e-6,
)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a site may decide on: where everything lies, and what the comparison says.

    `refused` is why the model is not offered, None where it is; `earlier` where the training lies that this one
    follows, None where it began no new round.
    """

    out: Path
    archive: Archive
    fitted: Fitted
    calibrated: Calibrated
    digest: str
    match: Match | None
    refused: str | None
    seconds: dict[str, float]
    earlier: Path | None = None

    @property
    def report(self) -> Path:
        """The page to read."""
        return self.out / "report" / "report.html"

    @property
    def bundle(self) -> Path:
        """The calibrated bundle."""
        return self.out / "bundle"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        places = {
            "archive": self.archive.folder, "run": self.fitted.run, "bundle": self.bundle,
            "report": self.report, "pictures": self.fitted.run / "pictures",
            **({} if self.earlier is None else {"earlier": self.earlier}),
        }  # fmt: skip
        return {
            "places": {name: str(path) for name, path in places.items()},
            "digest": self.digest,
            "promotable": self.refused is None,
            "refused": self.refused,
            "patients": {s: len(self.archive.patients(s)) for s in ("training", "validation", "calibration")},
            "excluded": len(self.archive.manifest.get("excluded", [])),
            "fitted": self.fitted.to_json(),
            "calibration": self.calibrated.to_json(),
            "comparison": None if self.match is None else self.match.to_json(),
            "seconds": {stage: round(spent, 1) for stage, spent in self.seconds.items()},
        }


def train_site(
    source: Path,
    out: Path,
    *,
    champion: Path,
    rules: ClassifyRules | None = None,
    schedule: Schedule = FULL,
    site: str = "unknown",
    served_as: str = "",
    name: str = "site",
    report: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda stage, done, total: None,
) -> Offer:
    """Scan, prepare, train from the model in force, calibrate, evaluate beside it, and say whether it may follow it.

    Called again with the same folders it goes on where it was stopped: what is prepared stays, a training goes on from
    its last state, a finished one is not repeated. Where the archive has grown since it ended, or another model is in
    force, a new training begins and the one before is set aside (training.rounds); the patients keep their sides.

    Args:
        source: folder of DICOM or NIfTI images. champion: bundle in force.
        served_as: name of the site as which the node runs its models; "" for the unknown one.

    Raises:
        TrainingError: there is nothing to read, too little to learn from, or `out` belongs to another folder.
        BundleError: the model in force is not whole.
    """
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)
    out.mkdir(parents=True, exist_ok=True)
    mine = out / "source.private.json"
    if mine.exists():
        claim_source(source, mine)
    work = out / schedule.folder
    begun = (_under_way(out / "archive", out / one) for one in (schedule.folder, FULL.folder, SMOKE.folder))
    archive = next((one for one in begun if one is not None), None)
    if archive is None:
        salt = salt_of(out / "archive" / "salt")
        inventory = scan([Place(folder=source, site=site)], salt=salt, rules=rules, progress=progress)
        claim_source(source, mine)
        write_inventory(inventory, out / "inventory.json")
        clock("scan")
        archive = prepare_archive(inventory, out / "archive", progress=progress)
        clock("prepare")
    else:
        report(
            "a training is under way: it goes on with the studies that it began with; call again for new ones"
        )
    archive.refuse_if_too_small()
    out = work
    out.mkdir(parents=True, exist_ok=True)
    why = misfit(out, fingerprint=archive.fingerprint, steps=schedule.steps, batch=schedule.batch,
                 in_force=stated_digest(champion))  # fmt: skip
    earlier = None if why is None else set_aside(out)
    if why is not None:
        report(f"a new training begins, because {why}; the one before lies in {earlier}")
    champion = _kept(champion, out / "champion")
    fitted = _fitted(archive, out / "run", champion, schedule, name, report, progress)
    clock("fit")
    before, after = load_bundle(champion), load_bundle(fitted.bundle)
    calibrated = _calibrated(archive, after, schedule, progress)
    digest = seal_calibrated(fitted.bundle, out / "bundle", calibrated)
    clock("calibrate")
    match, refused = _match(archive, before, load_bundle(out / "bundle"), schedule, served_as, progress)
    if match is not None:
        write_report(match.evaluation, out / "report")
    clock("compare")
    offer = Offer(
        out=out, archive=archive, fitted=fitted, calibrated=calibrated, digest=digest, match=match,
        refused=refused, seconds=seconds, earlier=earlier,
    )  # fmt: skip
    part = out / "site.json.part"
    part.write_text(json.dumps(offer.to_json(), indent=1) + "\n")
    part.replace(out / "site.json")
    return offer


def _under_way(folder: Path, work: Path) -> Archive | None:
    """The archive of a training that was begun and not ended; a study that came meanwhile must not throw it away."""
    if not (work / "run" / "fit.json").is_file() or (work / "site.json").is_file() or half_set_aside(work):
        return None
    archive = open_archive(folder)
    return archive if begun_with(work, archive.fingerprint) else None


def _kept(champion: Path, folder: Path) -> Path:
    """The model in force when this began, in a copy: what is exchanged meanwhile does not move the yardstick."""
    if stated_digest(folder) is None:
        copy_sealed(champion, folder)
    return folder


class _Clock:
    """Seconds of each stage."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.since = seconds, time.monotonic()

    def __call__(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage], self.since = now - self.since, now


def _fitted(
    archive: Archive,
    run: Path,
    champion: Path,
    schedule: Schedule,
    name: str,
    report: Callable[[str], None],
    progress: Progress,
) -> Fitted:
    """The training, begun, gone on with, or read back."""
    request = Request(
        archives=(archive.folder,), out=run, start=str(champion), steps=schedule.steps, minutes=schedule.minutes,
        batch=schedule.batch, learning_rate=schedule.learning_rate,
        name=name, version=archive.fingerprint[:8], resume=(run / "fit.json").is_file(),
    )  # fmt: skip
    return fit(request, report=report, progress=lambda step, steps, loss: progress("training", step, steps))


def _calibrated(archive: Archive, bundle: Bundle, schedule: Schedule, progress: Progress) -> Calibrated:
    """On the calibration patients; where there are none, on the validation patients and without any guarantee."""
    apart = [case for case in archive.cases("calibration") if len(case.contrasts) > 1]
    validation = archive.cases("validation")
    return calibrate(
        bundle,
        learned=archive.cases("training"),
        calibration=apart or validation,
        checked=validation if apart else (),
        exchangeable=bool(apart),
        slices=schedule.slices,
        progress=lambda stage, share: progress(stage, round(100 * share), 100),
    )


def _match(
    archive: Archive, before: Bundle, after: Bundle, schedule: Schedule, served_as: str, progress: Progress
) -> tuple[Match | None, str | None]:
    """The comparison, and why the model is not offered; a comparison that is impossible is a reason as well."""
    cases = archive.cases("validation")
    known = [c for c in before.contrasts if any(c in case.contrasts for case in cases)]
    asked = patterns(known) if schedule.all_patterns else from_all_others(cases, known)
    try:
        match = compare(
            before, after, cases, asked=asked, every=schedule.every, site=served_as,
            progress=lambda done, of: progress("comparing", done, of),
        )  # fmt: skip
    except PromotionRefused as error:
        return None, str(error)
    return match, None if match.promotable else "; ".join(match.against)
