"""How bright white matter, grey matter and CSF are under a sequence's timing.

The contrast of a brain image is the order of these three. Relaxation times: 1.5 T and 3 T after Stanisz et al.
(Magn Reson Med 54:507, 2005) and Wansapura et al. (J Magn Reson Imaging 9:531, 1999), 7 T after Rooney et al.
(Magn Reson Med 57:308, 2007), 0.55 T after Campbell-Washburn et al. (Radiology 293:384, 2019), below 0.2 T after
O'Reilly and Webb (Magn Reson Med 87:884, 2022), rounded; only their order and rough ratio matter here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LONGEST_EQUIVALENT_ECHO_MS = 120.0
"""Long refocusing trains with low, varying flip angles store magnetisation along z: a 3-D turbo spin echo of nominal
TE 300-400 ms looks like a conventional TE of about 100 ms (Busse et al., Magn Reson Med 55:1030, 2006)."""


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """Proton density relative to water, T1, T2 and T2* in ms."""

    density: float
    t1: float
    t2: float
    t2_star: float


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """Signals of the three tissues, arbitrary unit."""

    white: float
    grey: float
    fluid: float

    @property
    def white_over_grey(self) -> float:
        """Above 1 in T1-weighted images, below in all others."""
        return self.white / max(self.grey, 1e-9)

    @property
    def fluid_over_grey(self) -> float:
        """Dark CSF below 1, bright CSF above."""
        return self.fluid / max(self.grey, 1e-9)


_TISSUES: tuple[tuple[float, tuple[Tissue, Tissue, Tissue]], ...] = (
    (
        0.2,
        (
            Tissue(density=0.70, t1=275, t2=100, t2_star=90),
            Tissue(density=0.82, t1=330, t2=110, t2_star=100),
            Tissue(density=1.0, t1=3700, t2=1500, t2_star=800),
        ),
    ),
    (
        1.0,
        (
            Tissue(density=0.70, t1=490, t2=90, t2_star=80),
            Tissue(density=0.82, t1=720, t2=112, t2_star=100),
            Tissue(density=1.0, t1=4000, t2=1900, t2_star=700),
        ),
    ),
    (
        2.2,
        (
            Tissue(density=0.70, t1=650, t2=80, t2_star=66),
            Tissue(density=0.82, t1=1000, t2=100, t2_star=84),
            Tissue(density=1.0, t1=4200, t2=1800, t2_star=600),
        ),
    ),
    (
        5.0,
        (
            Tissue(density=0.70, t1=850, t2=70, t2_star=53),
            Tissue(density=0.82, t1=1350, t2=90, t2_star=66),
            Tissue(density=1.0, t1=4300, t2=1600, t2_star=400),
        ),
    ),
    (
        math.inf,
        (
            Tissue(density=0.70, t1=1200, t2=50, t2_star=27),
            Tissue(density=0.82, t1=1900, t2=60, t2_star=33),
            Tissue(density=1.0, t1=4400, t2=1200, t2_star=200),
        ),
    ),
)


def tissues(field_t: float | None) -> tuple[Tissue, Tissue, Tissue]:
    """White matter, grey matter and CSF at this field; 1.5 T where it is not stated."""
    return next(found for limit, found in _TISSUES if (field_t or 1.5) < limit)


def spin_echo(*, field_t: float | None, tr: float, te: float, ti: float | None, three_d: bool) -> Brightness:
    """Spin echo or turbo spin echo, with an inversion pulse where `ti` is given (all in ms), magnitude."""
    echo = min(te, LONGEST_EQUIVALENT_ECHO_MS) if three_d or te > 200 else te

    def signal(tissue: Tissue) -> float:
        recovered = 1 - math.exp(-tr / tissue.t1)
        if ti is not None:
            recovered = 1 - 2 * math.exp(-ti / tissue.t1) + math.exp(-tr / tissue.t1)
        return tissue.density * abs(recovered) * math.exp(-echo / tissue.t2)

    white, grey, fluid = (signal(tissue) for tissue in tissues(field_t))
    return Brightness(white=white, grey=grey, fluid=fluid)


def fluid_magnetisation(*, field_t: float | None, tr: float, ti: float) -> float:
    """Longitudinal magnetisation of CSF at the excitation, as a share of equilibrium: near 0 it is nulled."""
    fluid = tissues(field_t)[2]
    return 1 - 2 * math.exp(-ti / fluid.t1) + math.exp(-tr / fluid.t1)


def spoiled_gradient_echo(*, field_t: float | None, tr: float, te: float, flip_deg: float) -> Brightness:
    """Spoiled gradient echo in steady state (Ernst), times in ms."""
    flip = math.radians(flip_deg)

    def signal(tissue: Tissue) -> float:
        decay = math.exp(-tr / tissue.t1)
        steady = math.sin(flip) * (1 - decay) / (1 - math.cos(flip) * decay)
        return tissue.density * steady * math.exp(-te / tissue.t2_star)

    white, grey, fluid = (signal(tissue) for tissue in tissues(field_t))
    return Brightness(white=white, grey=grey, fluid=fluid)
