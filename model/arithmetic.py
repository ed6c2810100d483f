"""How the network computes: in which precision, and whether two runs must give the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from model.errors import RequestError

PRECISIONS = ("fp32", "bf16")


@contextmanager
def arithmetic(device: str, precision: str = "fp32", deterministic: bool | None = None) -> Iterator[None]:
    """The setting in which the network is called; what was set before is set again afterwards.

    Args:
        device: torch device.
        precision: fp32; bf16 on CUDA alone: most CPUs emulate it, and calibrations on a CPU are of fp32.
        deterministic: an operation whose result may differ between two runs raises. Default: on a CPU, where it costs
            nothing.

    Raises:
        RequestError: a precision that the device does not compute in.
    """
    cuda = device.startswith("cuda")
    if precision not in PRECISIONS or (precision == "bf16" and not cuda):
        raise RequestError(
            code="precision",
            subject=precision,
            reason=f"the network does not compute in it on {device}",
            cure="Use fp32, or bf16 on a CUDA device.",
        )
    # `use_deterministic_algorithms` does the same and imports the compiler, which takes two seconds.
    before = torch.get_deterministic_debug_mode()
    wanted = not cuda if deterministic is None else deterministic
    torch.set_deterministic_debug_mode("error" if wanted else "default")
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        torch.set_deterministic_debug_mode(before)
