"""The thread of a worker that runs shadows while nothing else is to be done."""

from __future__ import annotations

import threading
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from medk2n_node.models import ModelUnusable
from medk2n_node.observe import get_logger, words_of
from medk2n_node.shadow.rows import Tried, ledger_of
from medk2n_node.shadow.run import Interrupted, chosen, shadow_study
from medk2n_node.store.tables import Revision
from medk2n_node.study.context import Context
from medk2n_node.study.states import ACTIVE, State

log = get_logger("shadow")

#: States after which nothing more is made of a revision.
DONE = (State.COMPLETE, State.DELIVERED)
#: How often it looks for a study, and how many of the newest it looks at.
LOOK_SECONDS, LOOK_BACK = 60.0, 500


class Shadow:
    """Looks for finished studies that were chosen, one at a time, and gives way to every real one."""

    def __init__(self, context: Context, stop: threading.Event) -> None:
        self._context, self._stop = context, stop
        self._ledger = ledger_of(context.config)
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin, where the configuration asks for it."""
        if self._context.config.shadow.every:
            self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                while not self._stop.is_set() and self.look():
                    pass
            except (SQLAlchemyError, OSError) as error:
                log.warning("shadow mode could not look for studies", error=words_of(error))

    def look(self) -> bool:
        """Do one study; False where there is none to do, no time for it, or another worker is at it."""
        if self._busy():
            return False
        with self._ledger.turn() as ours:
            return ours and self._look()

    def _look(self) -> bool:
        found = self._next()
        if found is None:
            return False
        revision_id, instead = found
        try:
            rows, tried = shadow_study(
                self._context, revision_id, wanted=lambda: not self._stop.is_set() and not self._busy()
            )
        except Interrupted:
            log.info("shadow mode gives way to a study", revision_id=revision_id)
            return False
        except ModelUnusable as error:
            log.warning("shadow mode waits for a model", reason=str(error))
            return False
        except SQLAlchemyError:
            raise  # the database is away, not the study's fault: it is looked at again
        except Exception as error:
            # A study that cannot be shadowed must stop neither the thread nor the worker; it is not tried again.
            log.error("a study could not be shadowed", revision_id=revision_id, exc_info=True)
            rows, tried = [], Tried(at=self._context.clock(), revision=revision_id, words=words_of(error))
        self._ledger.add(rows, replace(tried, instead=instead))
        for row in rows:
            log.info("shadow", target=row.target, psnr_db=row.psnr_db, scanner=row.scanner, words=row.words)
        return True

    def _busy(self) -> bool:
        """Whether a real study is on its way to a result; delivery alone needs no device."""
        waiting = [state.value for state in ACTIVE if state is not State.DELIVERING]
        with self._context.store.reading() as session:
            count = select(func.count()).select_from(Revision).where(Revision.state.in_(waiting))
            return bool(session.scalar(count))

    def _next(self) -> tuple[int, tuple[int, ...]] | None:
        """The newest revision of a study that was chosen and is done, and those of it that were tried before."""
        tried, every = self._ledger.tried(), self._context.config.shadow.every
        with self._context.store.reading() as session:
            newest = select(func.max(Revision.id)).group_by(Revision.study_uid)
            found = session.execute(
                select(Revision.id, Revision.study_uid)
                .where(Revision.id.in_(newest), Revision.state.in_([state.value for state in DONE]))
                .order_by(Revision.id.desc())
                .limit(LOOK_BACK)
            ).all()
            for id_, uid in reversed(found):
                if id_ not in tried and chosen(uid, every):
                    before = session.scalars(select(Revision.id).where(Revision.study_uid == uid)).all()
                    return id_, tuple(sorted(tried.intersection(before)))
        return None
