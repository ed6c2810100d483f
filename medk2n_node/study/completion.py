"""When has a study settled? A pure function of what was received, the time and the rules.

DICOM has no end-of-study signal, so this is a judgement on evidence. Strongest first: the longest wait is
over; an association that brought instances of this study is still open (never settle under a sender that is
still talking, however slow); the study has been quiet for long enough. Every piece of evidence used becomes
a sentence that is stored with the revision and shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class SenderAssociation:
    """An association that brought instances of this study.

    `moved_on`: its most recent instance belongs to another study (a router that keeps one association open
    for everything it forwards). `ending` is null while the association is open.
    """

    association_id: str
    calling_ae: str
    last_at: datetime
    closed_at: datetime | None
    ending: str | None
    moved_on: bool = False


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What is known of the part of a study that no settled revision holds yet; times are aware UTC."""

    study_uid: str
    instances: int
    series: int
    first_at: datetime
    last_at: datetime
    associations: Sequence[SenderAssociation]


@dataclass(frozen=True, kw_only=True)
class CompletionRules:
    """How long to wait: quiet seconds after the last instance, and the cap counted from the first."""

    quiet_seconds: float
    max_wait_seconds: float


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Not yet; `look_again_at` is when the answer can next change by time alone."""

    look_again_at: datetime
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The study may be frozen; `code` is quiet or max_wait, `evidence` are the sentences for it."""

    code: str
    evidence: tuple[str, ...]


def verdict(snapshot: Snapshot, now: datetime, rules: CompletionRules) -> Waiting | Settled:
    """Decide whether the study has settled.

    Args:
        snapshot: the instances that no settled revision holds, and the associations that brought them.
        now: aware UTC time of the decision.
        rules: the waiting times in force.
    """
    received = (
        f"{_count(snapshot.instances, 'instance')} in {_count(snapshot.series, 'series', 'series')} received "
        f"between {_clock(snapshot.first_at)} and {_clock(snapshot.last_at)}"
    )
    waited = (now - snapshot.first_at).total_seconds()
    holding = [one for one in snapshot.associations if one.closed_at is None and not one.moved_on]
    if waited >= rules.max_wait_seconds:
        words = f"the longest wait of {_seconds(rules.max_wait_seconds)} since the first instance is over"
        still = [f"the association of {one.calling_ae} was still open" for one in holding]
        return Settled(code="max_wait", evidence=(received, words, *still))

    cap_at = snapshot.first_at + timedelta(seconds=rules.max_wait_seconds)
    if holding:
        return Waiting(
            look_again_at=cap_at,
            reasons=tuple(f"the association of {one.calling_ae} is still open" for one in holding),
        )

    quiet_at = snapshot.last_at + timedelta(seconds=rules.quiet_seconds)
    if now < quiet_at:
        return Waiting(
            look_again_at=min(quiet_at, cap_at),
            reasons=(f"the last instance is less than {_seconds(rules.quiet_seconds)} old",),
        )
    quiet = f"no further instance for {_seconds((now - snapshot.last_at).total_seconds())}"
    wanted = f"the quiet period is {_seconds(rules.quiet_seconds)}"
    return Settled(code="quiet", evidence=(received, *_endings(snapshot.associations), f"{quiet}; {wanted}"))


def _endings(associations: Sequence[SenderAssociation]) -> list[str]:
    """A sentence for each association that brought the instances, in the order in which they ended."""
    sentences = []
    for one in sorted(associations, key=lambda one: (one.closed_at or one.last_at, one.association_id)):
        if one.closed_at is None:
            sentences.append(f"the association of {one.calling_ae} went on to another study")
        else:
            how = {"released": "was released by the sender"}.get(one.ending or "", f"ended ({one.ending})")
            sentences.append(f"the association of {one.calling_ae} {how} at {_clock(one.closed_at)}")
    return list(dict.fromkeys(sentences))


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
