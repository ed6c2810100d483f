"""What a training stands on: the cases of its archives, and a folder of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from model.bundle import copy_sealed, default_folder
from model.personal import UNKNOWN
from training.archive import Archive, Case, open_archive
from training.errors import TrainingError
from training.fitting.request import SCRATCH, Request

#: In the run's folder: what was asked, the bundle it began with, and the one whose judge of identity judges.
REQUEST, START, JUDGE = "fit.json", "start", "judge"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Cases of all archives with their sites, `sites` without the unknown one, and the archives' fingerprints."""

    training: list[Case]
    validation: list[Case]
    sites: tuple[str, ...]
    fingerprints: tuple[str, ...]


def read(request: Request) -> Ground:
    """The cases of all archives, with their sites; refused here when they do not suffice."""
    training: list[Case] = []
    validation: list[Case] = []
    prints: list[str] = []
    for k, folder in enumerate(request.archives):
        archive: Archive = open_archive(folder)
        archive.refuse_if_too_small()
        named = "" if not request.sites else request.sites[k % len(request.sites)]
        for split, cases in (("training", training), ("validation", validation)):
            for case in archive.cases(split):
                site = request.new_site or (named if named and case.site == UNKNOWN else case.site)
                # Two archives may call two patients' cases the same.
                name = case.name if len(request.archives) == 1 else f"{k}/{case.name}"
                cases.append(replace(case, name=name, site=site))
        prints.append(archive.fingerprint)
    if request.new_contrast and not any(request.new_contrast in c.contrasts for c in training):
        raise TrainingError(
            code="contrast", subject=request.new_contrast, reason="no training case shows it",
            cure="Prepare an archive with series of this contrast",
        )  # fmt: skip
    both = {case.patient_key for case in training} & {case.patient_key for case in validation}
    if both:
        raise TrainingError(
            code="leak", subject=", ".join(map(str, request.archives)),
            reason=f"{len(both)} patients train in one of them and validate in another: every figure would flatter",
            cure="Prepare their studies into one archive, which keeps every patient on one side",
        )  # fmt: skip
    # Archives scanned under salts of their own call one patient by two names; the files are the same.
    taught = frozenset[str]().union(*(case.marks for case in training))
    again = {case.patient_key for case in validation if case.marks & taught}
    if again:
        raise TrainingError(
            code="leak", subject=", ".join(map(str, request.archives)),
            reason=f"the images of {len(again)} validation patients also train, under another name: every figure would "
            "flatter",
            cure="Prepare the studies into one new folder"
            + (
                f", or scan with the salt of the first: `train scan DIR --salt {request.archives[0] / 'salt'}`"
                if len(request.archives) > 1
                else ""
            ),
        )  # fmt: skip
    sites = tuple(sorted({case.site for case in training} - {UNKNOWN}))
    return Ground(training=training, validation=validation, sites=sites, fingerprints=tuple(prints))


def claim(request: Request, data: Ground) -> None:
    """The run's folder is new, or holds the very training that is to go on."""
    out = request.out
    asked = {**request.to_json(), "archives": list(data.fingerprints)}
    file = out / REQUEST
    if file.is_file():
        before = json.loads(file.read_text())
        if not request.resume:
            raise TrainingError(
                code="exists", subject=str(out), reason="it holds a training already",
                cure="Go on with it by --resume, or name another folder",
            )  # fmt: skip
        if before["archives"] != asked["archives"]:
            raise TrainingError(
                code="changed", subject=", ".join(map(str, request.archives)),
                reason="the data are not those that this training began with", cure="Start a new training",
            )  # fmt: skip
        return
    out.mkdir(parents=True, exist_ok=True)
    if request.start != SCRATCH:
        copy_sealed(Path(request.start) if request.start else default_folder(), out / START)
    if request.start == SCRATCH or request.identity:
        copy_sealed(Path(request.identity) if request.identity else default_folder(), out / JUDGE)
    part = file.with_name(f".{REQUEST}.part")
    part.write_text(json.dumps(asked, indent=1))
    part.replace(file)
