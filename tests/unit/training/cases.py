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
