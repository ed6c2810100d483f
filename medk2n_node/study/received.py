"""The files that this node has received, for those who only read them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from medk2n_node.store.tables import Instance


def received_files(session: Session) -> list[str]:
    """Paths below the storage root of every object received, study by study; what we sent and got back among them."""
    order = (Instance.study_uid, Instance.series_uid, Instance.sop_uid)
    return list(session.scalars(select(Instance.path).order_by(*order)))
