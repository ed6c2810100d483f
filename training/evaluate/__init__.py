"""Figures that can be believed: one protocol, inside the brain, beside peers in the same run."""

from __future__ import annotations

from training.evaluate.protocol import predict_case, score, score_after_fit

__all__ = ["predict_case", "score", "score_after_fit"]
