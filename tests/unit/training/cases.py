"""Small made-up patients for the tests of training."""

from __future__ import annotations

import numpy as np

from training.archive import Case
from training.simulation.labels import LabelHead


def head_case(name: str, contrasts: tuple[str, ...], value: float) -> Case:
    """A bright ellipse with a ramp; `value` is its brightness."""
    z, y, x = np.mgrid[0:12, 0:160, 0:128]
    brain = ((y - 80) / 60) ** 2 + ((x - 64) / 48) ** 2 < 1
    ramp = (0.3 + 0.4 * y / 160 + 0.1 * z / 12).astype(np.float16)
    return Case(
        name=name,
        contrasts={c: (ramp * value).astype(np.float16) for c in contrasts},
        brain=brain,
        lesion=np.zeros_like(brain),
        quantiles=dict.fromkeys(contrasts, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        spacing=(1.0, 1.0, 1.0),
        stripped=True,
        isotropic=True,
    )


def ring_labels() -> LabelHead:
    """CSF inside, grey around it, white outside."""
    z, y, x = np.mgrid[0:10, 0:160, 0:128]
    r = np.hypot((y - 80) / 60, (x - 64) / 48)
    return LabelHead(np.where(r < 0.3, 1, np.where(r < 0.7, 3, np.where(r < 1, 2, 0))) + 0 * z, "rings")


def small_case(
    name: str, contrasts: tuple[str, ...], value: float, *, site: str = "unknown", depth: int = 8
) -> Case:
    """The same on 64 x 64 pixels, quick to cut, of patient and site; each contrast has a shade of its own."""
    z, y, x = np.mgrid[0:depth, 0:64, 0:64]
    brain = ((y - 32) / 24) ** 2 + ((x - 32) / 20) ** 2 < 1
    shades = {c: 0.3 + 0.5 * ((k * y + (3 - k) * x + 4 * z) % 64) / 64 for k, c in enumerate(contrasts)}
    return Case(
        name=name,
        contrasts={c: (shade * value * brain).astype(np.float16) for c, shade in shades.items()},
        brain=brain,
        lesion=np.zeros_like(brain),
        quantiles=dict.fromkeys(contrasts, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        spacing=(1.0, 1.0, 5.0),
        stripped=True,
        isotropic=False,
        patient=name,
        site=site,
    )
