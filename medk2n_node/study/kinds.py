"""Which kinds of object are made, and which destination gets which (`[results]` and `[[destinations]].send`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from medk2n_node.config import Config
from medk2n_node.delivery import outbox
from medk2n_node.store.tables import ResultInstance
from medk2n_node.synthesis import Forms, MadeObject


def forms(config: Config) -> Forms:
    """What to make of each result.

    Enhanced MR where some destination takes it; classic MR unless every one that gets the series takes enhanced.
    """
    takers = [one for one in config.destinations if "series" in one.send]
    results = config.results
    return Forms(
        classic=not takers or not all(one.enhanced for one in takers),
        enhanced=any(one.enhanced for one in takers),
        uncertainty=results.uncertainty,
        overlay=results.overlay,
        summary=results.summary,
        watermark=results.watermark,
    )


def count(
    session: Session, config: Config, revision_id: int, objects: Iterable[MadeObject], now: datetime
) -> list[str]:
    """Write the rows of objects that lie on disk, and those of the outbox; gives the destinations that get any."""
    every = list(objects)
    for one in every:
        session.merge(
            ResultInstance(
                sop_uid=one.sop_uid,
                revision_id=revision_id,
                series_uid=one.series_uid,
                contrast=one.contrast,
                path=one.path,
                sha256=one.sha256,
                kind=one.kind,
                sop_class=one.sop_class,
            )
        )
    session.flush()
    sent = addressed(config, every)
    for destination, sop_uids in sent.items():
        outbox.write(session, revision_id, sop_uids, [destination], now)
    return list(sent)


def addressed(config: Config, objects: Iterable[MadeObject]) -> Mapping[str, list[str]]:
    """SOP Instance UIDs by the destination that gets them, in the order of `objects`."""
    every = list(objects)
    both = {one.contrast for one in every if one.kind == "enhanced"}
    sent: dict[str, list[str]] = {}
    for destination in config.destinations:
        wanted: list[str] = []
        for one in every:
            kind = "series" if one.kind == "enhanced" else one.kind
            if kind not in destination.send:
                continue
            if kind == "series" and one.contrast in both and (one.kind == "enhanced") != destination.enhanced:
                continue  # it gets the other form of this series
            wanted.append(one.sop_uid)
        if wanted:
            sent[destination.name] = wanted
    return sent
