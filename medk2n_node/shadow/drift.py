"""Drift per scanner, protocol and target: is what the model makes now worse than what it made at first?

An EWMA control chart (Roberts 1959): the first rows set mean and spread; a weighted mean of all later ones that leaves
its limits of three standard deviations is called drift. One bad study does not, twenty slightly worse ones do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medk2n_node.shadow.rows import ShadowRow

#: Rows that set what is usual; fewer say nothing yet.
FIRST = 12
#: Weight of the newest row, and width of the limits in standard deviations.
WEIGHT, LIMIT = 0.2, 3.0
#: The spread is taken for at least this: PSNR of one scanner and protocol never repeats to a hundredth of a dB.
LEAST_SPREAD_DB = 0.2


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One scanner, field strength, protocol, target and model. `verdict`: steady, worse, better, or too few rows.

    Attributes:
        usual, now: mean PSNR in dB of the first rows, and the weighted mean of the later ones; limit: what it may
            differ by.
    """

    scanner: str
    field_t: float | None
    protocol: str
    target: str
    model: str
    rows: int
    usual: float | None
    now: float | None
    limit: float | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


def drift_of(rows: Sequence[ShadowRow], first: int = FIRST) -> list[Drift]:
    """One line per group of rows, the worst first and too few rows last; rows without a measurement do not count."""
    groups: dict[tuple[str, float | None, str, str, str], list[ShadowRow]] = defaultdict(list)
    for row in rows:
        if row.psnr_db is not None:
            groups[row.scanner, row.field_t, row.protocol, row.target, row.model].append(row)
    found = []
    for (scanner, field_t, protocol, target, model), members in groups.items():
        ordered = sorted(members, key=lambda row: row.at)
        usual, now, limit, verdict = _chart([float(row.psnr_db or 0.0) for row in ordered], first)
        found.append(
            Drift(
                scanner=scanner, field_t=field_t, protocol=protocol, target=target, model=model, rows=len(ordered),
                usual=usual, now=now, limit=limit, verdict=verdict,
            )
        )  # fmt: skip
    return sorted(found, key=_place)


def _place(one: Drift) -> tuple[bool, bool, float]:
    """Worse ones first, then by how much has changed; who has too few rows says nothing yet."""
    if one.now is None or one.usual is None:
        return True, True, 0.0
    return False, one.verdict != "worse", one.now - one.usual


def _chart(values: Sequence[float], first: int) -> tuple[float | None, float | None, float | None, str]:
    if len(values) <= first:
        mean = float(np.mean(values)) if values else None
        return mean, None, None, f"too few rows ({len(values)} of more than {first})"
    usual = float(np.mean(values[:first]))
    spread = max(float(np.std(values[:first], ddof=1)), LEAST_SPREAD_DB)
    now = usual
    for value in values[first:]:
        now = (1 - WEIGHT) * now + WEIGHT * value
    later = len(values) - first
    limit = LIMIT * spread * float(np.sqrt(WEIGHT / (2 - WEIGHT) * (1 - (1 - WEIGHT) ** (2 * later))))
    verdict = "worse" if now < usual - limit else "better" if now > usual + limit else "steady"
    return usual, now, limit, verdict
