"""The trained peers by name, each at the width that costs what Med-K2N costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from model.heads.level import LEVEL_FEATURES
from model.network import MedK2N, NetworkConfig
from model.operations import operation_counter
from training.errors import TrainingError
from training.peers.nets import MMGAN, ChannelPeer, MMSynth, Peer, PlainUNet, dyn_unet

Build = Callable[[int, int], Peer]

#: Peer -> how it is built from (contrasts, width).
PEERS: Mapping[str, Build] = {
    "plain U-Net": lambda contrasts, width: ChannelPeer(
        contrasts, PlainUNet(3 * contrasts, contrasts, width)
    ),
    "DynUNet": lambda contrasts, width: ChannelPeer(contrasts, dyn_unet(3 * contrasts, contrasts, width)),
    "MM-GAN": lambda contrasts, width: MMGAN(contrasts, width),
    "MM-Synth": lambda contrasts, width: MMSynth(contrasts, width),
}
WIDTHS = range(4, 129)

#: A pattern as positions in the table of contrasts.
Labels = tuple[list[int], list[int]]


def labels_of(
    patterns: Sequence[tuple[Sequence[str], Sequence[str]]], contrasts: Sequence[str]
) -> list[Labels]:
    """Patterns of names as positions."""
    table = list(contrasts)
    return [([table.index(c) for c in s], [table.index(c) for c in t]) for s, t in patterns]


def network_gflop(config: NetworkConfig, patterns: Sequence[Labels], size: tuple[int, int]) -> float:
    """GFLOP (2 x multiply-add) of Med-K2N for one slice, mean over the patterns."""
    network = MedK2N(config).eval()
    total = 0
    with torch.inference_mode():
        for sources, targets in patterns:
            x = torch.zeros(1, len(sources), 3, *size)
            levels = torch.zeros(1, len(sources), LEVEL_FEATURES)
            with operation_counter() as counter:
                network(x, sources, targets, levels)
            total += counter.get_total_flops()
    return total / len(patterns) / 1e9


def peer_gflop(
    build: Build, contrasts: int, width: int, patterns: Sequence[Labels], size: tuple[int, int]
) -> float:
    """GFLOP of a peer for one slice, mean over the patterns; on the meta device, where nothing is computed."""
    with torch.device("meta"):
        network = build(contrasts, width).eval()
        # What a network of channels costs does not depend on the pattern.
        asked = patterns[:1] if isinstance(network, ChannelPeer | MMGAN) else patterns
        total = 0
        for sources, targets in asked:
            with operation_counter() as counter:
                network(torch.zeros(1, len(sources), 3, *size), sources, targets)
            total += counter.get_total_flops()
    return total / len(asked) / 1e9


def equal_width(
    build: Build, contrasts: int, gflop: float, patterns: Sequence[Labels], size: tuple[int, int]
) -> tuple[int, float]:
    """The width whose cost is nearest, and that cost in GFLOP."""
    low, high = WIDTHS[0], WIDTHS[-1]
    while high - low > 1:
        middle = (low + high) // 2
        if peer_gflop(build, contrasts, middle, patterns, size) < gflop:
            low = middle
        else:
            high = middle
    costs = {w: peer_gflop(build, contrasts, w, patterns, size) for w in (low, high)}
    best = min(costs, key=lambda w: abs(costs[w] - gflop))
    return best, costs[best]


def build_of(name: str) -> Build:
    """How a peer is built.

    Raises:
        TrainingError: peers: there is none of this name.
    """
    if name not in PEERS:
        raise TrainingError(
            code="peers", subject=name, reason="there is no such peer", cure=f"Use one of {', '.join(PEERS)}."
        )
    return PEERS[name]
