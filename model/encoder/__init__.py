"""The SAM 2 image encoder: Hiera trunk and feature pyramid neck of the `sam2` package.

In: (B, 3, H, W), H and W multiples of 32. Out: neck features at strides 4, 8, 16, 32, each (B, D, ...). It can begin
with an official SAM 2.1 checkpoint, and be adapted by LoRA instead of trained.
"""

from __future__ import annotations

from model.encoder.checkpoint import CheckpointError, load_sam2_checkpoint
from model.encoder.hiera import ENCODERS, EncoderConfig, ImageEncoder
from model.encoder.lora import (
    AdapterError,
    add_lora,
    load_lora_state,
    lora_plus_groups,
    lora_state,
    merge_lora,
)

__all__ = [
    "ENCODERS",
    "AdapterError",
    "CheckpointError",
    "EncoderConfig",
    "ImageEncoder",
    "add_lora",
    "load_lora_state",
    "load_sam2_checkpoint",
    "lora_plus_groups",
    "lora_state",
    "merge_lora",
]
