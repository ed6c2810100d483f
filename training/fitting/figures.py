"""Figures while a training runs: each contrast from all others, and from each one alone, which chooses key sources."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from model.network import MedK2N
from training.archive import Case
from training.evaluate import predict_case, score, score_after_fit

#: Cases and slices of each that are looked at while training; the evaluation afterwards looks at all.
WATCHED_CASES, WATCHED_SLICES = 6, 4


#: Cases as which a score that is known already counts.
KEPT = 8


def single_source_scores(
    network: MedK2N, cases: Sequence[Case], *, slices: int = 4, keep: torch.Tensor | None = None
) -> torch.Tensor:
    """P[i, j]: mean PSNR in dB of contrast i alone for j, on about `slices` slices of each case.

    What was known before, `keep`, counts as KEPT cases: some few of a new site must not choose other key sources by
    chance. Where no case can tell it stays, or is 0, so that an unmeasured source is never the key beside a measured
    one.

    Returns:
        (C, C) float32, C = the network's contrasts.
    """
    contrasts = network.config.contrasts
    n = len(contrasts)
    total, count = np.zeros((n, n)), np.zeros((n, n))
    for case in cases:
        for i, source in enumerate(contrasts):
            wanted = tuple(c for c in case.contrasts if c != source)
            if source not in case.contrasts or not wanted:
                continue
            images, z = predict_case(network, case, (source,), wanted, max(1, case.brain.shape[0] // slices))
            for k, target in enumerate(wanted):
                j = contrasts.index(target)
                truth = case.contrasts[target][z].astype(np.float32)
                total[i, j] += score(images[:, k], truth, case.brain[z])
                count[i, j] += 1
    if keep is not None:
        known = keep.detach().cpu().numpy()
        total, count = total + KEPT * known, count + KEPT * (known > 0)
    scores = np.divide(total, count, out=np.zeros((n, n)), where=count > 0)
    return torch.from_numpy(scores.astype(np.float32))


def validation_figures(
    network: MedK2N, cases: Sequence[Case], sites: Sequence[int], slices: int = WATCHED_SLICES
) -> dict[str, float]:
    """PSNR (dB, in the brain) of each contrast from all others that a case has, as it comes and after the fit."""
    found: dict[str, list[tuple[float, float]]] = {}
    for case, site in zip(cases, sites, strict=True):
        have = tuple(c for c in network.config.contrasts if c in case.contrasts)
        every = max(1, int(np.asarray(case.brain).any(axis=(1, 2)).sum()) // slices)
        for target in have:
            sources = tuple(c for c in have if c != target)
            images, z = predict_case(network, case, sources, (target,), every, site=site)
            truth, mask = case.contrasts[target][z].astype(np.float32), np.asarray(case.brain[z])
            pair = score(images[:, 0], truth, mask), score_after_fit(images[:, 0], truth, mask)
            found.setdefault(f"{'+'.join(sources)}>{target}", []).append(pair)
    every_pair = [pair for pairs in found.values() for pair in pairs]
    if not every_pair:
        return {"mean": math.nan, "mean fit": math.nan}
    raw, fitted = (float(v) for v in np.mean(every_pair, axis=0))
    return {
        "mean": raw,
        "mean fit": fitted,
        **{k: float(np.mean([a for a, _ in v])) for k, v in found.items()},
    }
