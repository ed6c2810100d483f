"""A new contrast or a new site for a trained network, without touching what the others get.

Only the new rows of the tables are parameters; every other number is frozen, so that the outputs for the contrasts and
sites of before stay bit-equal. `settle` makes the new rows ordinary ones when their training has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from model.errors import RequestError
from model.network import MedK2N

#: Tables with one row a contrast.
CONTRAST_TABLES = (("source_embed", "weight"), ("target_embed", "weight"), ("preweight", "memory"))


class _NewRow(nn.Module):
    """A table of frozen rows and one new row; the new row is the parameter."""

    frozen: Tensor

    def __init__(self, frozen: Tensor) -> None:
        super().__init__()
        self.register_buffer("frozen", frozen)

    def forward(self, new: Tensor) -> Tensor:
        return torch.cat([self.frozen, new])

    def right_inverse(self, table: Tensor) -> Tensor:
        return table[-1:].clone()


def _grown(network: MedK2N, config: object) -> MedK2N:
    """The same numbers in a network with one more row where the configuration has one more entry."""
    grown = type(network)(config)  # type: ignore[arg-type]
    state, old = grown.state_dict(), network.state_dict()
    for name, tensor in old.items():
        wanted = state[name]
        if wanted.shape == tensor.shape:
            state[name] = tensor.clone()
        else:  # a table by contrast or site: the old corner, and the start of the new row
            wanted = torch.zeros_like(wanted)
            wanted[tuple(slice(0, n) for n in tensor.shape)] = tensor
            if tensor.is_floating_point() and name not in ("history", "key_score"):
                wanted[-1] = tensor.mean(dim=0)
            state[name] = wanted
    grown.load_state_dict(state)
    return grown.requires_grad_(False).train(network.training)


def _open(network: MedK2N, tables: tuple[tuple[str, str], ...]) -> list[nn.Parameter]:
    new = []
    for module_name, tensor_name in tables:
        module = network.get_submodule(module_name)
        frozen = getattr(module, tensor_name).detach()[:-1].clone()
        parametrize.register_parametrization(module, tensor_name, _NewRow(frozen), unsafe=True)
        parameter = module.parametrizations[tensor_name].original  # type: ignore[index,union-attr]
        parameter.requires_grad_(True)
        new.append(parameter)
    return new


def add_contrast(network: MedK2N, contrast: str) -> tuple[MedK2N, list[nn.Parameter]]:
    """A network that also knows `contrast`, and the parameters to train (its embeddings and its memory bank).

    The new rows begin at the mean of the known ones. No source has a validated score for it yet, so that the first of
    the sources in table order is its key until `key_score` is measured.

    Raises:
        RequestError: the contrast is known already.
    """
    if contrast in network.config.contrasts:
        raise RequestError(
            code="contrast",
            subject=contrast,
            reason="the network knows it already",
            cure="Choose another name.",
        )
    config = replace(network.config, contrasts=(*network.config.contrasts, contrast))
    grown = _grown(network, config)
    return grown, _open(grown, CONTRAST_TABLES)


def add_site(network: MedK2N, site: str) -> tuple[MedK2N, list[nn.Parameter]]:
    """A network that also knows `site`, and the one parameter to train: the site's row of the code table.

    Raises:
        RequestError: the site is known already.
    """
    if site in network.config.sites:
        raise RequestError(
            code="site", subject=site, reason="the network knows it already", cure="Choose another name."
        )
    grown = _grown(network, replace(network.config, sites=(*network.config.sites, site)))
    return grown, _open(grown, (("site.rows", "weight"),))


def _parametrized(network: MedK2N) -> Iterator[tuple[nn.Module, str]]:
    for module in network.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                yield module, str(name)


def settle(network: MedK2N) -> MedK2N:
    """The network with its new rows written into its tables, as a bundle stores it."""
    for module, name in list(_parametrized(network)):
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return network
