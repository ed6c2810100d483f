"""Loss terms, each masked, each with its weight in one table."""

from __future__ import annotations

from training.losses.adversarial import Discriminators, discriminator_loss, generator_loss
from training.losses.identity import cmim_loss
from training.losses.terms import (
    Totals,
    Weights,
    charbonnier,
    pinball,
    reconstruction_loss,
    ssim_map,
    total_loss,
    totals,
)

__all__ = [
    "Discriminators",
    "Totals",
    "Weights",
    "charbonnier",
    "cmim_loss",
    "discriminator_loss",
    "generator_loss",
    "pinball",
    "reconstruction_loss",
    "ssim_map",
    "total_loss",
    "totals",
]
