"""The contrast table: which MR contrasts the network knows, in canonical order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from model.errors import RequestError

#: Canonical order; an index into it is the label that the network embeds.
CONTRASTS: tuple[str, ...] = ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC")

#: Contrasts with a physical unit keep it: normalised by this fixed value (1e-6 mm2/s), never by a percentile.
FIXED_SCALE: dict[str, float] = {"ADC": 3000.0}


def canonical(names: Iterable[str], known: Sequence[str] = CONTRASTS) -> tuple[str, ...]:
    """The names in canonical order, each once.

    Raises:
        RequestError: a name that is not in the table.
    """
    wanted = set(names)
    unknown = sorted(wanted - set(known))
    if unknown:
        raise RequestError(
            code="contrast",
            subject=", ".join(unknown),
            reason="no such contrast in the model's table",
            cure=f"Use one of {', '.join(known)}.",
        )
    return tuple(name for name in known if name in wanted)
