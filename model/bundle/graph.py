"""One pattern (these sources, these targets) of the network as an ONNX graph, and how well it agrees with PyTorch.

The number of slices is free; rows and columns are fixed, because the spiral in which the scan visits the pixels is
computed for one size. Contrast labels and key sources become constants of the graph.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.bundle.files import Bundle
from model.errors import RequestError
from model.heads.level import LEVEL_FEATURES

INPUTS = ("slices", "levels")
OUTPUTS = (
    "images", "base", "below", "above", "errors", "base_errors", "w_global", "tau", "w_eff",
)  # fmt: skip
#: With one source there is nothing to weigh: the last three are empty and stay out of the graph.
_OF_ONE_SOURCE = 6
#: Largest difference to PyTorch at which a graph counts as the same network; measured differences are near 1e-6.
TOLERANCE = 1e-4
_OPSET = 18


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Sources and targets by name."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def __str__(self) -> str:
        return f"{','.join(self.sources)}:{','.join(self.targets)}"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What became of one pattern; `file` and `difference` are None where it could not be exported."""

    pattern: str
    file: str | None
    difference: float | None
    words: str


class _OnePattern(nn.Module):
    """The network with labels and keys fixed, and its outputs as a tuple."""

    def __init__(self, network: nn.Module, sources: list[int], targets: list[int], keys: list[int]) -> None:
        super().__init__()
        self.network, self.sources, self.targets, self.keys = network, sources, targets, keys
        self.outputs = OUTPUTS if len(sources) > 1 else OUTPUTS[:_OF_ONE_SOURCE]

    def forward(self, slices: Tensor, levels: Tensor) -> tuple[Tensor, ...]:
        made = self.network(slices, self.sources, self.targets, levels, self.keys)
        return tuple(getattr(made, name) for name in self.outputs)


def export_graph(bundle: Bundle, pattern: Pattern, folder: Path, size: int = 256) -> Graph:
    """Write the pattern as ONNX and compare it with PyTorch in onnxruntime, on one and on three slices.

    Args:
        size: rows and columns of the graph, a multiple of 32.

    Raises:
        RequestError: a contrast that the bundle does not know, or the extra `export` is not installed.
    """
    try:
        import onnx  # noqa: F401 - asked for by the exporter, which says less when it is absent
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RequestError(
            code="onnx", subject=f"pattern {pattern}", reason=f"{error.name} is not installed",
            cure='pip install "medk2n[export]"',
        ) from error  # fmt: skip
    sources, targets = places_of(bundle, pattern)
    module = _OnePattern(bundle.network, sources, targets, bundle.network.keys(sources, targets)).eval()
    name = f"{'-'.join(pattern.sources)}_to_{'-'.join(pattern.targets)}.onnx"
    file = folder / name
    batch = torch.export.Dim("batch", min=1, max=512)
    try:
        with warnings.catch_warnings():
            # What the exporter says about its own deprecations is nothing that a user of this command can mend.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                _example(2, len(sources), size),
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=list(INPUTS),
                output_names=list(module.outputs),
                dynamic_shapes={"slices": {0: batch}, "levels": {0: batch}},
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        return Graph(
            pattern=str(pattern), file=None, difference=None, words=f"does not export to ONNX: {first}"
        )
    if program is None:
        return Graph(pattern=str(pattern), file=None, difference=None, words="the exporter gave no graph")
    program.save(str(file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    difference = max(_difference(module, session, count, len(sources), size) for count in (1, 3))
    if difference > TOLERANCE:
        file.unlink()
        words = f"exported, but onnxruntime differs from PyTorch by {difference:.1e}: the file was removed"
        return Graph(pattern=str(pattern), file=None, difference=difference, words=words)
    return Graph(
        pattern=str(pattern),
        file=name,
        difference=difference,
        words=f"{name}, {size}x{size}, any number of slices; "
        f"onnxruntime differs from PyTorch by {difference:.1e} at most",
    )


def places_of(bundle: Bundle, pattern: Pattern) -> tuple[list[int], list[int]]:
    """Positions of the sources and targets of a pattern; RequestError where it cannot be."""
    unknown = [one for one in (*pattern.sources, *pattern.targets) if one not in bundle.contrasts]
    if unknown or set(pattern.sources) & set(pattern.targets) or not pattern.sources or not pattern.targets:
        raise RequestError(
            code="contrast",
            subject=f"pattern {pattern}",
            reason=f"unknown: {', '.join(unknown)}" if unknown else "sources and targets must be two sets",
            cure=f"Write SOURCES:TARGETS of {', '.join(bundle.contrasts)}, such as T1,T2:FLAIR.",
        )
    places = bundle.contrasts.index
    return [places(one) for one in pattern.sources], [places(one) for one in pattern.targets]


def _example(slices: int, sources: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(slices)
    return (
        torch.rand(slices, sources, 3, size, size, generator=generator),
        torch.rand(slices, sources, LEVEL_FEATURES, generator=generator),
    )


def _difference(module: nn.Module, session: object, slices: int, sources: int, size: int) -> float:
    """The largest difference of any output that holds a number."""
    x, levels = _example(slices, sources, size)
    with torch.inference_mode():
        wanted = module(x, levels)
    given = session.run(None, dict(zip(INPUTS, (x.numpy(), levels.numpy()), strict=True)))  # type: ignore[attr-defined]
    return max(float(np.abs(one - other.numpy()).max()) for one, other in zip(given, wanted, strict=True))
