"""All peers of an archive, one after the other: fitted, trained, resumable."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.bundle import verify_bundle
from model.network import NetworkConfig
from training.archive import Case, open_archive
from training.loop import Recipe
from training.peers.catalogue import PEERS, build_of, labels_of, network_gflop
from training.peers.fit import load_peers, train_peer
from training.peers.simple import save_simple

STEPS = 2000


def train_all(
    archive: Path,
    out: Path,
    *,
    seeds: Sequence[int],
    minutes: float | None = None,
    steps: int | None = None,
    only: Sequence[str] = (),
    like: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, of: None,
) -> list[dict[str, Any]]:
    """Fit copy and ridge on an archive's training cases and train the networks; gives what each says of itself.

    Args:
        minutes, steps: of every network and seed; steps win. only: names of PEERS, all of them by default.
        like: a bundle or run whose network says what one slice may cost, mean over all source sets of the archive's
            contrasts.

    Raises:
        TrainingError: the archive does not suffice; a name that is none; a folder that holds another peer.
        BundleError: `like` is no bundle.
    """
    for name in only:
        build_of(name)
    opened = open_archive(archive)
    opened.refuse_if_too_small()
    cases = opened.cases("training")
    config = NetworkConfig() if like is None else _config(like)
    # As `train fit` draws them: batches of one site and one set of contrasts, cut to the size of a head.
    recipe = Recipe(
        steps=steps or STEPS, simulated=0.0, spoilt=0.0, mcbs=True, network=config, size=_size(cases)
    )
    sites = [opened.site_number(case) for case in cases]
    known = [c for c in opened.contrasts if c in config.contrasts]
    patterns = _patterns(known)
    gflop = network_gflop(config, labels_of(patterns, config.contrasts), recipe.size)
    report(f"Med-K2N costs {gflop:.2f} GFLOP a slice, mean over {len(patterns)} source sets")
    save_simple(cases, known, out)
    for seed in seeds:
        for name in only or tuple(PEERS):
            stage = f"{name}, seed {seed}"
            train_peer(
                name, replace(recipe, seed=seed), cases, [1.0] * len(cases), [], out / _slug(name) / f"seed-{seed}",
                gflop=gflop, patterns=patterns, sites=sites, report=report,
                minutes=None if steps is not None else minutes,
                progress=lambda step, of, stage=stage: progress(stage, step, of),  # type: ignore[misc]
                facts={"archive": opened.fingerprint, "reference_gflop": round(gflop, 3)},
            )  # fmt: skip
    return load_peers(out)[1]


def _patterns(contrasts: Sequence[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    from itertools import combinations

    return [
        (sources, tuple(c for c in contrasts if c not in sources))
        for count in range(1, len(contrasts))
        for sources in combinations(contrasts, count)
    ]


def _size(cases: Sequence[Case], most: tuple[int, int] = (160, 128)) -> tuple[int, int]:
    """Rows and columns of what is cut: a head at about 1 mm, or all of a smaller image."""
    rows, columns = (max(case.brain.shape[axis] for case in cases) for axis in (1, 2))
    return min(most[0], 32 * math.ceil(rows / 32)), min(most[1], 32 * math.ceil(columns / 32))


def _config(folder: Path) -> NetworkConfig:
    place = folder / "bundle" if (folder / "bundle" / "bundle.json").is_file() else folder
    return NetworkConfig.from_json(verify_bundle(place).manifest["network"])


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
