"""Stand-ins for the weights and the network, for tests of what lies around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import model


@dataclass(frozen=True, kw_only=True)
class FakeBundle:
    """As much of `model.Bundle` as the node reads."""

    digest: str = "ab" * 32
    name: str = "fake"
    version: str = "1"
    interval_factor: float | None = None
    identity: Any = None
    contrasts: tuple[str, ...] = model.CONTRASTS
    key_preference: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: {source: dict.fromkeys(model.CONTRASTS, 10.0) for source in model.CONTRASTS}
    )


@dataclass(frozen=True, kw_only=True)
class FakeRegistration:
    """A source that lay on the reference already."""

    transform: Any
    translation_mm: float = 0.0
    rotation_deg: float = 0.0
    similarity: float = 1.0
    accepted: bool = True
    sentence: str = "Lies on the reference already."


class Identity:
    """A transform that moves nothing."""

    def TransformPoint(self, point: tuple[float, float, float]) -> tuple[float, float, float]:
        """As SimpleITK calls it."""
        return point


def fake_synthesize(
    sources: Mapping[str, model.Image],
    targets: Sequence[str],
    bundle: FakeBundle,
    *,
    reference: str | None = None,
    progress: Callable[[str, float], None] | None = None,
    device: str = "cpu",
    batch_slices: int = 8,
    site: str | None = None,
    precision: str = "fp32",
    deterministic: bool | None = None,
) -> model.Outputs:
    """The reference itself, scaled to 0..1000, as every target."""
    assert reference is not None
    if progress is not None:
        progress("network", 0.0)
    array = sources[reference].array
    stored = np.rint(array / max(float(array.max()), 1.0) * 1000).astype(np.uint16)
    results = {
        target: model.TargetResult(
            contrast=target,
            array=stored,
            scale=900.0,
            uncertainty=np.zeros(stored.shape, np.float32),
            quality={"expected_mae": 0.05},
            contributions={name: 1 / len(sources) for name in sources},
            accepted=dict.fromkeys(sources, True),
            abstained=False,
            reasons=(f"{target} is a copy of {reference}.",),
            window=(500.0, 1000.0),
        )
        for target in targets
    }
    others = [name for name in sources if name != reference]
    registrations: dict[str, Any] = {name: FakeRegistration(transform=Identity()) for name in others}
    return model.Outputs(
        model=bundle.digest,
        reference=reference,
        keys=dict.fromkeys(targets, reference),
        targets=results,
        seconds={"register": 0.1, "network": 0.2},
        registrations=registrations,
    )
