"""How a request is carried out: the recipe, and the network that it begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from model import Bundle
from model.network import MedK2N
from model.personal import UNKNOWN
from training.archive import Case
from training.fitting.ground import Ground
from training.fitting.request import SCRATCH, Request
from training.loop import Recipe, ablated, grown_config, with_sites
from training.losses import Weights
from training.sampling import Stage

#: Learning rates by what is taught: all weights of a trained network, adapters, a row of a table, an untrained network.
RATES = {"full": 3e-4, "lora": 3e-4, "grow": 2e-2, SCRATCH: 1.2e-3}
STEPS = 2000
#: Steps below which a trained network is taught at a lower rate, in proportion: Adam's first steps have the size of the
#: rate whatever the gradient says, and a short training would only throw it about.
SETTLING = 500


def recipe_of(request: Request, data: Ground, bundle: Bundle | None) -> tuple[Recipe, MedK2N | None]:
    """How the request is carried out, and the network that it begins with."""
    grow = f"site:{request.new_site}" if request.new_site else ""
    grow = f"contrast:{request.new_contrast}" if request.new_contrast else grow
    sites = data.sites if request.pfm else ()
    recipe = Recipe(
        steps=request.steps or STEPS,
        batch=request.batch,
        accumulate=request.accumulate,
        size=size_of(data.training),
        weight_decay=0.0 if grow else 0.02,
        simulated=0.0,
        save_every=request.save_every,
        seed=request.seed,
        adapt="full" if grow else request.adapt,
        grow=grow,
        mcbs=request.mcbs,
        pfm=request.pfm,
        forget_site=0.0 if request.new_site else 0.2,
        identity_from=0.25 if bundle is None else 0.0,
        weights=Weights(rec=request.reconstruction, adversarial=request.adversarial),
        network=replace(Recipe().network, sites=(UNKNOWN, *sites)),
    )
    if bundle is not None and not request.curriculum:
        recipe = replace(recipe, curriculum={Stage.MANY_TO_MANY: 1.0})
    recipe = timed(ablated(recipe, request.modules), request)
    if bundle is None:
        return recipe, None
    if grow:
        return grown_config(recipe, bundle.network), bundle.network
    begin = with_sites(bundle.network, sites)
    return replace(recipe, network=begin.config), begin


def timed(recipe: Recipe, request: Request) -> Recipe:
    """What follows from the number of steps."""
    if request.start == SCRATCH:
        rate = RATES[SCRATCH]
    elif recipe.grow:
        rate = RATES["grow"]
    else:
        rate = RATES[request.adapt] * min(1.0, recipe.steps / SETTLING)
    return replace(
        recipe,
        learning_rate=request.learning_rate or rate,
        warmup=min(100, max(1, recipe.steps // 10)),
        evaluate_every=max(1, math.ceil(recipe.steps / request.evaluations)),
    )


def size_of(cases: Sequence[Case], most: tuple[int, int] = (160, 128)) -> tuple[int, int]:
    """Rows and columns of what is cut: a head at about 1 mm, or all of a smaller image."""
    rows, columns = (max(c.brain.shape[k] for c in cases) for k in (1, 2))
    return min(most[0], 32 * math.ceil(rows / 32)), min(most[1], 32 * math.ceil(columns / 32))


def numbers_of(cases: Sequence[Case], recipe: Recipe) -> list[int]:
    """The cases' sites as the network numbers them; all unknown where it is not told."""
    sites = recipe.network.sites
    return [sites.index(c.site) if recipe.pfm and c.site in sites else 0 for c in cases]
