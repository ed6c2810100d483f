"""What a training step sees: a pattern of sources and targets, and a batch of slices that have them all."""

from __future__ import annotations

from training.sampling.batch import FORGET_SITE, Batch, Sampler, candidates
from training.sampling.mcbs import BatchSchedule, Planned, Sample
from training.sampling.pattern import Pattern, PatternSampler, Stage, stage_at

__all__ = [
    "FORGET_SITE",
    "Batch",
    "BatchSchedule",
    "Pattern",
    "PatternSampler",
    "Planned",
    "Sample",
    "Sampler",
    "Stage",
    "candidates",
    "stage_at",
]
