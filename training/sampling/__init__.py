"""What a training step sees: a pattern of sources and targets, and a batch of slices that have them all."""

from __future__ import annotations

from training.sampling.batch import FORGET_SITE, Batch, Sampler
from training.sampling.pattern import Pattern, PatternSampler, Stage, stage_at

__all__ = ["FORGET_SITE", "Batch", "Pattern", "PatternSampler", "Sampler", "Stage", "stage_at"]
