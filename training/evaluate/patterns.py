"""Which sources to which targets an evaluation asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from training.archive import Case

Pattern = tuple[tuple[str, ...], tuple[str, ...]]


def patterns(contrasts: Sequence[str]) -> list[Pattern]:
    """Every non-empty set of sources, with all other contrasts as targets: 2^n - 2 of them.

    The order is that of the papers' tables: few sources first, then the table of contrasts.
    """
    names = tuple(contrasts)
    out = []
    for count in range(1, len(names)):
        for sources in combinations(names, count):
            out.append((sources, tuple(c for c in names if c not in sources)))
    return out


def from_all_others(cases: Iterable[Case], known: Sequence[str]) -> list[Pattern]:
    """Every contrast of every case from all its other ones, once; few sources first."""
    out: dict[Pattern, None] = {}
    for case in cases:
        have = [c for c in known if c in case.contrasts]
        out |= {(tuple(c for c in have if c != target), (target,)): None for target in have if len(have) > 1}
    return sorted(out, key=lambda one: len(one[0]))


def pattern_of(case: Case, pattern: Pattern, known: Sequence[str] | None = None) -> Pattern | None:
    """The part of a pattern that a case can answer: all its sources, those of its targets that were scanned.

    `known` are the contrasts that a method can take and make. None where nothing is left to ask.
    """
    have = [c for c in case.contrasts if known is None or c in known]
    sources, targets = pattern
    wanted = tuple(c for c in targets if c in have)
    return (sources, wanted) if wanted and all(c in have for c in sources) else None
