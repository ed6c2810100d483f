"""Where a training runs, by Lightning Fabric: this CPU, one GPU, or every process that torchrun has started.

torchrun --nproc-per-node 4 --nnodes 2 ... -m medk2n_node train fit ARCHIVE --out RUN
"""

from __future__ import annotations

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from training.errors import TrainingError

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "fp32", "bf16")


def cpu_computes_bf16() -> bool:
    """Whether this CPU multiplies matrices in bf16 by instructions of its own (AVX-512 BF16 or AMX)."""
    able: dict[str, object] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # PyTorch before 2.12 may lack it
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def fabric_of(accelerator: str = "auto", precision: str = "auto") -> Fabric:
    """The machine that this process trains on, or its share of a training that torchrun has started.

    Args:
        accelerator: cpu, gpu, or auto: a GPU where there is one.
        precision: fp32, bf16, or auto: bf16 where this GPU or CPU computes in it, fp32 where it would be emulated.
            Weights, their averages and the losses are fp32 in both.

    Raises:
        TrainingError: device: there is no GPU; precision: bf16 where neither GPU nor CPU computes in it.
    """
    gpu = torch.cuda.is_available()
    if accelerator == "gpu" and not gpu:
        raise TrainingError(
            code="device", subject="gpu", reason="PyTorch sees no GPU on this machine",
            cure="Train on the CPU, or install PyTorch's build for this GPU and its driver",
        )  # fmt: skip
    use = "cuda" if gpu and accelerator != "cpu" else "cpu"
    half = torch.cuda.is_bf16_supported() if use == "cuda" else cpu_computes_bf16()
    if precision == "bf16" and not half:
        raise TrainingError(
            code="precision", subject="bf16", reason=f"this {use} does not compute in it",
            cure="Leave the precision out: fp32 is taken where bf16 would be emulated",
        )  # fmt: skip
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=use,
        devices=local,
        num_nodes=max(1, world // local),
        # Which modules a pattern uses differs: one source alone needs no weight networks.
        strategy=DDPStrategy(find_unused_parameters=True) if world > 1 else "auto",
        precision="bf16-mixed" if half and precision != "fp32" else "32-true",
    )
    fabric.launch()
    return fabric
