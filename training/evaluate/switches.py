"""Switching one module of a trained network off, to see what it is worth.

Off means: its output is replaced by what carries no information about the input: its mean over the batch and over
space, zero where zero is neutral, or the first prediction in place of the fused one. Nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from model.network import MedK2N
from model.scan.multiscale import SpiralBlock

Hook = Callable[[nn.Module, Any, Any], Any]


def _flat(x: Tensor) -> Tensor:
    """The mean over the batch, and over space where there is space."""
    axes = (0,) if x.ndim < 4 else (0, *range(x.ndim - 2, x.ndim))
    return x.mean(dim=axes, keepdim=True).expand_as(x)


def _preweight(module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
    return tuple(_flat(part).mean(dim=1, keepdim=True).expand_as(part) for part in output)


def _threshold(module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    return tuple(_flat(part).mean(dim=1, keepdim=True).expand_as(part) for part in output)


def _effiweight(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return _flat(output).mean(dim=1, keepdim=True).expand_as(output)


def _space(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """The map becomes a number: what EffiWeightNet would be without its place."""
    return output.mean(dim=(-2, -1), keepdim=True).expand_as(output)


def _neutral_level(module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.ones_like(output[0]), torch.zeros_like(output[1])


def _zero(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return torch.zeros_like(output)


def _all_zero(module: nn.Module, inputs: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(part) for part in output)


@contextmanager
def _hooked(modules: list[nn.Module], hook: Hook) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _filled(tensors: list[Tensor], value: float) -> Iterator[None]:
    kept = [t.detach().clone() for t in tensors]
    with torch.no_grad():
        for t in tensors:
            t.fill_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for t, old in zip(tensors, kept, strict=True):
                t.copy_(old)


@contextmanager
def switched_off(network: MedK2N, name: str) -> Iterator[None]:
    """The network without one of SWITCHES, as long as the context lasts."""
    if name == "scan":
        scales = [m.scale for m in network.multiscale.spirals if isinstance(m, SpiralBlock)]
        context = _filled(list(scales), 0.0)
    elif name == "memory":
        context = _filled([network.preweight.memory], 0.0)
    else:
        modules, hook = _hooks(network)[name]
        context = _hooked(modules, hook)
    with context:
        yield


def _hooks(network: MedK2N) -> dict[str, tuple[list[nn.Module], Hook]]:
    return {
        "preweight": ([network.preweight], _preweight),
        "threshold": ([network.threshold], _threshold),
        "effiweight": ([network.effiweight], _effiweight),
        "effiweight map": ([network.effiweight], _space),
        "auxiliary sources": ([network.effiweight], _zero),
        "detail path": ([network.detail], _all_zero),
        "source labels": ([network.modality, network.detail.label], _zero),
        "level": ([network.level], _neutral_level),
    }


#: What can be switched off, in the order of the graph.
SWITCHES = (
    "scan", "source labels", "detail path", "preweight", "memory", "threshold", "effiweight", "effiweight map",
    "auxiliary sources", "level",
)  # fmt: skip
