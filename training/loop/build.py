"""What is taught: the whole network, adapters beside its encoder (LoRA+), or the rows of a new site or contrast."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.encoder import add_lora, lora_plus_groups, merge_lora
from model.network import MedK2N
from model.personal.growth import add_contrast, add_site, settle
from training.errors import TrainingError
from training.loop.recipe import Recipe
from training.loop.rows import build_as

#: Last layers of the weight networks.
DECISIONS = ("preweight.weight.2.", "threshold.threshold.2.", "effiweight.calculator.2.")

Groups = list[dict[str, Any]]


def build(recipe: Recipe, begin: MedK2N | None = None) -> tuple[MedK2N, Groups]:
    """The network that a recipe teaches, and what its optimizer is given: groups with their `initial_lr`.

    Args:
        begin: the network to begin with; random weights of the recipe's seed without it. Where `recipe.grow` names a
            site or contrast, it is the network that does not know it yet.

    Raises:
        TrainingError: grow: nothing to grow from; adapt: no such way.
        RequestError: the network knows the site or contrast already.
    """
    torch.manual_seed(recipe.seed)
    kind, name = recipe.grows
    groups: Groups
    if kind:
        if begin is None or kind not in ("site", "contrast"):
            raise TrainingError(
                code="grow", subject=recipe.grow, reason="a new site or contrast is added to a trained network",
                cure="Begin with a bundle",
            )  # fmt: skip
        network, new = (add_site if kind == "site" else add_contrast)(begin, name)
        network = _channels_last(network)
        groups = [
            {"name": "new", "params": new, "lr": recipe.learning_rate, "initial_lr": recipe.learning_rate,
             "weight_decay": 0.0}
        ]  # fmt: skip
        return build_as(network, recipe.modules), groups
    network = MedK2N(recipe.network)
    if begin is not None:
        network.load_state_dict(begin.state_dict())
    network = _channels_last(network)
    if recipe.adapt == "lora":
        add_lora(network, seed=recipe.seed % 2**31)
        groups = lora_plus_groups(network, recipe.learning_rate, weight_decay=recipe.weight_decay)
    elif recipe.adapt == "full":
        rates = {"lr": recipe.learning_rate, "initial_lr": recipe.learning_rate}
        decay = [p for p in network.parameters() if p.ndim > 1]
        plain = [p for p in network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decay, "weight_decay": recipe.weight_decay, **rates},
            {"params": plain, "weight_decay": 0.0, **rates},
        ]
    else:
        raise TrainingError(
            code="adapt", subject=recipe.adapt, reason="a network is adapted by `lora` or in `full`",
            cure="Name one of the two",
        )  # fmt: skip
    return build_as(network, recipe.modules), groups


def finished(network: MedK2N, recipe: Recipe) -> MedK2N:
    """A copy as a bundle keeps it: adapters merged into their layers, new rows written into their tables."""
    done = copy.deepcopy(network).cpu()
    if recipe.grow:
        settle(done)
    elif recipe.adapt == "lora":
        merge_lora(done)
    return done.requires_grad_(False).eval()


def with_sites(network: MedK2N, sites: tuple[str, ...]) -> MedK2N:
    """The network with a row for every site of `sites` that it does not know, all of it ready to learn."""
    for site in sites:
        if site not in network.config.sites:
            network = settle(add_site(network, site)[0])
    return network.requires_grad_(True)


def begin_with_state(network: MedK2N, path: Path, reconsider: bool) -> None:
    """The averaged weights of another training, but for modules that are new here.

    Raises:
        ValueError: they are of another architecture.
    """
    earlier = torch.load(path, weights_only=False)["average"]
    # What decides begins anew: a gate that an earlier training has driven into its bound would stay there.
    if reconsider:
        earlier = {k: v for k, v in earlier.items() if not k.startswith(DECISIONS)}
    absent, unknown = network.load_state_dict(earlier, strict=False)
    anew = ("site.", *DECISIONS) if reconsider else ("site.",)
    new = [k for k in absent if ".site." not in k and not k.startswith(anew)]
    if unknown or new:
        raise ValueError(f"{path} is of another architecture: unknown {unknown[:5]}, missing {new[:5]}")


def grown_config(recipe: Recipe, begin: MedK2N) -> Recipe:
    """The recipe with the architecture that `begin` has once the new site or contrast is there."""
    kind, name = recipe.grows
    old = begin.config
    if kind == "site":
        return replace(recipe, network=replace(old, sites=(*old.sites, name)))
    if kind == "contrast":
        return replace(recipe, network=replace(old, contrasts=(*old.contrasts, name)))
    return replace(recipe, network=old)


def _channels_last(network: MedK2N) -> MedK2N:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
