"""What to give up when memory runs out: smaller batches, then precision where a GPU has it, then the GPU; never the
study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from medk2n_node.errors import ConfigError, NodeError
from medk2n_node.observe import get_logger
from medk2n_node.synthesis.allocator import freed_memory_kept

log = get_logger("synthesis")
T = TypeVar("T")

Precision = Literal["fp32", "bf16"]
Wanted = Literal["auto", "fp32", "bf16"]

#: What allocators say when they raise a plain RuntimeError: PyTorch's for the CPU, cuBLAS and cuDNN, ITK.
_ALLOCATION_FAILED = (
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
    "alloc_failed",
    "bad_alloc",
    "failed to allocate",
)


class OutOfMemory(NodeError):
    """The smallest piece of work on the last device did not fit; a later attempt may find more memory."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One way to run the network."""

    device: str
    precision: Precision
    batch_slices: int

    def __str__(self) -> str:
        many = "one slice" if self.batch_slices == 1 else f"{self.batch_slices} slices"
        return f"{many} at a time on {self.device} in {self.precision}"


def ways_down(wanted: str, precision: Wanted, batch_slices: int) -> list[Rung]:
    """The rungs for a configured device and precision.

    Raises:
        ConfigError: a precision that the device does not compute in.
    """
    device = resolve_device(wanted)
    return rungs(device, batch_slices, resolve_precision(precision, device), has_bf16=computes_bf16(device))


def rungs(
    device: str, batch_slices: int, precision: Precision = "fp32", *, has_bf16: bool = False
) -> list[Rung]:
    """The ways to try in order: half the batch down to one slice, lower precision, then the same on the CPU.

    Args:
        has_bf16: whether the device computes in bfloat16.
    """
    batches = []
    while batch_slices >= 1:
        batches.append(batch_slices)
        batch_slices //= 2
    on_device = [Rung(device=device, precision=precision, batch_slices=size) for size in batches]
    if not device.startswith("cuda"):
        return on_device
    if precision == "fp32" and has_bf16:
        on_device.append(Rung(device=device, precision="bf16", batch_slices=1))
    return on_device + [Rung(device="cpu", precision="fp32", batch_slices=size) for size in batches]


def climb_down(attempt: Callable[[Rung], T], ways: list[Rung]) -> T:
    """Call `attempt` on each rung until one fits into memory.

    Raises:
        OutOfMemory: not even the last one did. Whatever else an attempt raises goes through at once.
    """
    import torch

    words = ""
    for number, rung in enumerate(ways):
        try:
            with freed_memory_kept():
                return attempt(rung)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        # Outside of the block: the error holds the frames, and with them the tensors, of the attempt.
        if rung.device.startswith("cuda"):
            torch.cuda.empty_cache()
        if number + 1 < len(ways):
            log.warning(
                "out of memory, trying less", tried=str(rung), next=str(ways[number + 1]), error=words
            )
    raise OutOfMemory(
        code="out_of_memory",
        subject="the synthesis",
        reason=f"it does not fit into memory, not even {ways[-1]} ({words})",
        cure="Stop what else uses memory on this machine, or give it more; the study is tried again",
    )


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, in any of the forms in which allocators say it."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = str(error).lower()
    return any(phrase in words for phrase in _ALLOCATION_FAILED)


def resolve_device(wanted: str) -> str:
    """`auto` becomes the first CUDA device where there is one, else the CPU."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def resolve_precision(wanted: Wanted, device: str) -> Precision:
    """The arithmetic on this device; `auto` is fp32 everywhere, so that every machine makes the same images.

    Raises:
        ConfigError: bf16 on a device that does not compute in it.
    """
    if wanted != "bf16":
        return "fp32"
    if not computes_bf16(device):
        raise ConfigError(
            code="precision",
            subject="[synthesis] precision",
            reason=f'"bf16" needs a CUDA device that computes in it; this is {device}, where it would only be slower',
            cure='Set precision = "auto", or device to a GPU',
        )
    return "bf16"


def computes_bf16(device: str) -> bool:
    """Whether the device computes in bfloat16. A CPU stays in fp32, in which images are calibrated."""
    import torch

    return device.startswith("cuda") and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
