"""The SAM 2 image encoder: Hiera trunk and feature pyramid neck of the `sam2` package.

In: (B, 3, H, W), H and W multiples of 32. Out: neck features at strides 4, 8, 16, 32, each (B, D, ...).
"""

from __future__ import annotations

from model.encoder.hiera import ENCODERS, EncoderConfig, ImageEncoder

__all__ = ["ENCODERS", "EncoderConfig", "ImageEncoder"]
