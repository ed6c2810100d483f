"""Loss terms, each masked, each with its weight in one table."""

from __future__ import annotations

from training.losses.identity import cmim_loss
from training.losses.terms import Weights, charbonnier, pinball, ssim_map, total_loss

__all__ = ["Weights", "charbonnier", "cmim_loss", "pinball", "ssim_map", "total_loss"]
