"""From prepared archives to a sealed bundle: what `medk2n train fit` does.

RUN/start/ is the bundle that the training began with, RUN/judge/ one that only judges identity, fit.json what was
asked, recipe.json how it was done, state.pt how far it is; loss.csv, log.csv, tensorboard/ and pictures/ show it, and
bundle/ is what it made.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from model import Bundle, load_bundle
from model.identity import IDENTITY_FACTS
from model.network import MedK2N
from training.archive import Case
from training.errors import TrainingError
from training.fitting.figures import WATCHED_CASES, single_source_scores, validation_figures
from training.fitting.ground import JUDGE, REQUEST, START, Ground, claim, read
from training.fitting.pictures import draw_pictures
from training.fitting.plan import numbers_of, recipe_of, timed
from training.fitting.request import SCRATCH, Fitted, Request, check
from training.loop import Recipe, fabric_of, load_state, seconds_a_step, train
from training.release import seal_run, seen_by


def fit(
    request: Request,
    *,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Fitted:
    """Train as asked, and seal what was learned; in a distributed training the first process seals.

    Args:
        progress: called after each step with its number, how many there are, and the loss.

    Raises:
        TrainingError: too_small: the data do not suffice; exists, changed: the run's folder holds another training;
            contrast, grow, adapt, device, precision: what was asked cannot be.
        BundleError: the bundle to begin with is not whole.
    """
    if request.resume and (request.out / REQUEST).is_file():
        request = request.asked_before(json.loads((request.out / REQUEST).read_text()))
    elif request.resume:
        raise TrainingError(
            code="nothing_to_resume", subject=str(request.out), reason="no training was begun there",
            cure="Name the folder of a training, or leave --resume out to begin one",
        )  # fmt: skip
    check(request)
    data = read(request)
    out = request.out
    fabric = fabric_of(request.accelerator, request.precision)
    if fabric.is_global_zero:
        claim(request, data)
    fabric.barrier()
    bundle = None if request.start == SCRATCH else load_bundle(out / START)
    judge = load_bundle(out / JUDGE) if (out / JUDGE).is_dir() else bundle
    recipe, begin = recipe_of(request, data, bundle)
    if request.resume and (out / "recipe.json").is_file():
        recipe = Recipe.from_json(json.loads((out / "recipe.json").read_text()))
    elif request.minutes is not None:
        each = seconds_a_step(recipe, data.training, numbers_of(data.training, recipe), begin, fabric)
        # A sixth of the time is for evaluations, scores and pictures.
        allowed = int(fabric.broadcast(max(10, int(50 * request.minutes / each))))
        steps = allowed if request.steps is None else min(allowed, request.steps)
        report(f"{each:.2f} s a step: {steps} steps in {request.minutes:g} minutes")
        recipe = timed(replace(recipe, steps=steps), request)
    watched = _watched(data.validation, recipe)
    scored = data.training[:: max(1, len(data.training) // 8)][:8]
    began = None if begin is None else begin.key_score.clone()

    def key_score(network: MedK2N) -> torch.Tensor:
        if recipe.grows[0] == "site":  # whatever is measured now, nothing of before may change
            return network.key_score.clone()
        if began is None:  # a first measurement is one of an untrained network: nothing to keep
            return single_source_scores(network, scored)
        known = torch.zeros_like(network.key_score)
        known[: len(began), : len(began)] = began
        found = single_source_scores(network, scored, keep=known)
        if recipe.grows[0] == "contrast":
            found[: len(began), : len(began)] = began
        return found

    def pictures(network: MedK2N, step: int) -> None:
        turn = step // max(1, recipe.evaluate_every)
        draw_pictures(
            network, watched[:3], numbers_of(watched[:3], recipe), out / "pictures" / f"{step}.png", turn
        )

    clock = time.monotonic()
    train(
        recipe, data.training, [1.0] * len(data.training), [], out,
        evaluate=lambda network: validation_figures(network, watched, numbers_of(watched, recipe)),
        key_score=key_score, report=report, sites=numbers_of(data.training, recipe), begin=begin,
        budget_s=math.inf if request.minutes is None else 60 * request.minutes,
        identity=None if judge is None else judge.identity, fabric=fabric, tensorboard=True, pictures=pictures,
        progress=None if progress is None else lambda step, loss: progress(step, recipe.steps, loss),
    )  # fmt: skip
    precision = str(fabric.strategy.precision.precision)
    digest = _seal(request, recipe, data, bundle, begin, precision) if fabric.is_global_zero else ""
    fabric.barrier()
    return Fitted(
        run=out,
        bundle=out / "bundle",
        digest=str(fabric.broadcast(digest)),
        start=SCRATCH if bundle is None else bundle.digest,
        steps=int(load_state(out)["step"]),
        planned=recipe.steps,
        seconds=round(time.monotonic() - clock, 1),
        cases={"training": len(data.training), "validation": len(data.validation)},
        sites={site: k for k, site in enumerate(recipe.network.sites)},
        figures=json.loads((out / "bundle" / "bundle.json").read_text())["metrics"],
    )


def _watched(cases: Sequence[Case], recipe: Recipe) -> list[Case]:
    """Some validation cases, spread over the sites, that have something to make."""
    kind, name = recipe.grows
    fits = [c for c in cases if len(c.contrasts) > 1 and (kind != "contrast" or name in c.contrasts)]
    return sorted(fits, key=lambda c: (c.site, c.name))[:: max(1, len(fits) // WATCHED_CASES)][:WATCHED_CASES]


def _seal(
    request: Request,
    recipe: Recipe,
    data: Ground,
    bundle: Bundle | None,
    begin: MedK2N | None,
    precision: str,
) -> str:
    """RUN/bundle, uncalibrated."""
    judge = request.out / (JUDGE if (request.out / JUDGE).is_dir() else START)
    failures = []
    few = len({c.patient_key for c in data.training})
    if few < 20:
        failures.append(f"Only {few} patients trained it: their scanner and their diseases weigh heavily.")
    if recipe.grow:
        failures.append(
            f"Only {' '.join(recipe.grows)} was taught; all else is as in the bundle it began with."
        )
    if recipe.modules != "B5":
        failures.append(f"Trained as row {recipe.modules} of an ablation: not for use.")
    return seal_run(
        request.out, data.training, request.out / "bundle", name=request.name, version=request.version, begin=begin,
        identity=judge if (judge / IDENTITY_FACTS).is_file() else None,
        began=SCRATCH if bundle is None else f"{bundle.name} {bundle.version} (`{bundle.digest[:12]}`), of whose "
        "training data its own card speaks",
        terms=request.terms, failures=failures, validation=len({c.patient_key for c in data.validation}),
        seen=() if bundle is None else seen_by(bundle),
        training={
            "start": None if bundle is None else bundle.digest,
            "archives": list(data.fingerprints),
            "precision": precision,
        },
    )  # fmt: skip
