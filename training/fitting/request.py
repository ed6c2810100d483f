"""What a training of a site's own is asked to be, what it gives back, and what is refused before anything is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.loop import ROWS

SCRATCH = "scratch"
#: What a call that resumes says for itself.
HERE = frozenset({"archives", "out", "minutes", "accelerator", "precision", "resume"})


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a training of a site's own is asked to be.

    Attributes:
        archives: folders that `medk2n train prepare` made; several are trained on together.
        start: bundle to begin with; "scratch" for random weights; None for the packaged one.
        identity: bundle whose judge of identity judges (CMIM); None for that of `start`, or of the packaged one.
        steps: None: STEPS, or as many as fit into `minutes`. minutes: None: as long as it takes.
        adapt: "full" or "lora". new_site, new_contrast: teach this one alone, whatever `adapt` says.
        sites: names for the cases whose site an archive does not know, one for each archive, or one for all.
        modules: a row of the paper's table 3. pfm, mcbs: switches of PMM-Synth's two parts.
        curriculum: begin with one source and one target; else all stages from the first step on.
        adversarial: weight of the LSGAN loss; reconstruction: of the source reconstruction loss.
        terms: of use of the data, for the card.
    """

    archives: tuple[Path, ...]
    out: Path
    start: str | None = None
    identity: str | None = None
    steps: int | None = None
    minutes: float | None = None
    seed: int = 20260214
    adapt: str = "full"
    new_site: str = ""
    new_contrast: str = ""
    sites: tuple[str, ...] = ()
    batch: int = 6
    accumulate: int = 1
    learning_rate: float | None = None
    modules: str = "B5"
    pfm: bool = True
    mcbs: bool = True
    curriculum: bool = False
    adversarial: float = 0.0
    reconstruction: float = 0.3
    evaluations: int = 5
    save_every: int = 50
    name: str = "site"
    version: str = "1"
    terms: str = "none were stated; the site that owns the data decides."
    accelerator: str = "auto"
    precision: str = "auto"
    resume: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return json.loads(json.dumps(asdict(self), default=str))

    def asked_before(self, stated: Mapping[str, Any]) -> Request:
        """What was asked when the run began, in a call that goes on with it; where it runs is this call's matter."""
        names = {f.name for f in fields(Request)} - HERE
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in stated.items() if k in names
        }
        return replace(self, **plain)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a training left: `bundle` and its digest, steps done of those planned, seconds, the last figures."""

    run: Path
    bundle: Path
    digest: str
    start: str
    steps: int
    planned: int
    seconds: float
    cases: dict[str, int]
    sites: dict[str, int]
    figures: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return json.loads(json.dumps(asdict(self), default=str))


def check(request: Request) -> None:
    """What can be refused before anything is read."""
    if request.new_site and request.new_contrast:
        raise TrainingError(
            code="grow", subject=f"{request.new_site}, {request.new_contrast}",
            reason="one training teaches one new site or one new contrast", cure="Train twice, one after the other",
        )  # fmt: skip
    if (request.new_site or request.new_contrast) and request.start == SCRATCH:
        raise TrainingError(
            code="grow", subject=request.new_site or request.new_contrast,
            reason="a new site or contrast is added to a trained network", cure="Begin with a bundle",
        )  # fmt: skip
    if request.modules not in ROWS or request.adapt not in ("full", "lora"):
        raise TrainingError(
            code="adapt", subject=f"{request.modules}, {request.adapt}",
            reason="there is no such row of the paper's table, or no such way to adapt",
            cure=f"Rows are {', '.join(ROWS)}; ways are full and lora",
        )  # fmt: skip
    if len(request.sites) not in (0, 1, len(request.archives)):
        raise TrainingError(
            code="site", subject=", ".join(request.sites), reason="a site's name is for one archive, or for all",
            cure=f"Give one name, or {len(request.archives)}",
        )  # fmt: skip
