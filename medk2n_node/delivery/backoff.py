"""When to try again, and when to stop: pure functions of the count, the rules and a random number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class BackoffRules:
    """First delay, longest delay, and how long after the outbox was written an object is given up."""

    first_seconds: float
    longest_seconds: float
    give_up_after: timedelta


def delay_seconds(attempts: int, rules: BackoffRules, chance: float) -> float:
    """Seconds until the next attempt after `attempts` failed ones.

    Doubles from the first delay up to the longest. `chance` in [0, 1) spreads it over the upper half ("equal
    jitter"), so that many waiting objects and many nodes do not call a recovering PACS in the same second.
    """
    if attempts < 1:
        raise ValueError("a delay follows at least one attempt")
    # 2**30 of any delay is beyond every sensible cap; the bound keeps the power small.
    full = min(rules.first_seconds * 2.0 ** min(attempts - 1, 30), rules.longest_seconds)
    return full * (0.5 + 0.5 * chance)


def given_up(written_at: datetime, now: datetime, rules: BackoffRules) -> bool:
    """True when an object that still is not accepted goes to the dead letters."""
    return now - written_at >= rules.give_up_after
