"""The worker process: holds a slot, runs the engine, ticks. The only process of the node that imports torch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from medk2n_node.config import Config
from medk2n_node.models import ModelService
from medk2n_node.observe import get_logger
from medk2n_node.shadow import Shadow
from medk2n_node.store import Store, open_store
from medk2n_node.study import slots
from medk2n_node.study.attendant import Attendant
from medk2n_node.study.context import Context, utc_now
from medk2n_node.study.workflow import Engine

log = get_logger("study")


def run_worker(config: Config, *, stop: threading.Event, ready: Callable[[str], None]) -> None:
    """Work until `stop` is set.

    Args:
        config: the configuration in force.
        stop: set it to end; what runs then is taken up by the next worker.
        ready: called once with the executor id, when studies are being looked after.

    Raises:
        ModelUnusable: the weights in force cannot be used.
        StoreError: the storage or the database cannot be used.
    """
    bundle = ModelService(config)
    _use_all_cores()
    bundle()  # a worker without usable weights must not say that it is ready
    store = open_store(config)
    with store.session() as session:
        slot = slots.acquire(session, utc_now(), slots.this_host(), os.getpid())
    context = Context(config=config, store=store, bundle=bundle, bundle_named=bundle.named)
    heart = threading.Thread(target=_beat, args=(store, slot, stop), name="heartbeat", daemon=True)
    heart.start()
    engine = Engine(context, slot.executor_id)
    engine.launch()
    attendant = Attendant(context, engine, slot)
    Shadow(context, stop).start()
    ready(slot.executor_id)
    log.info("worker is ready", executor=slot.executor_id)
    try:
        while not stop.is_set():
            try:
                attendant.tick()
            except SQLAlchemyError as error:
                # The database is away or busy: nothing is lost, the next tick sees the same tables.
                log.warning("the database did not answer", error=str(error))
            stop.wait(config.completion.poll_seconds)
    finally:
        stop.set()
        engine.stop()
        heart.join(timeout=slots.HEARTBEAT_SECONDS)
        with store.session() as session:
            slots.release(session, slot)


def _beat(store: Store, slot: slots.Slot, stop: threading.Event) -> None:
    """Renew the lease until told to stop; a process that lost its lease ends at once, whatever it is doing."""
    renewed = time.monotonic()
    while not stop.wait(slots.HEARTBEAT_SECONDS):
        try:
            with store.session() as session:
                slots.beat(session, slot, utc_now())
            renewed = time.monotonic()
        except slots.SlotLost as error:
            log.error("this worker ends so that no step runs twice", reason=str(error))
            os._exit(1)
        except SQLAlchemyError as error:
            log.warning("the heartbeat could not be written", error=str(error))
            if time.monotonic() - renewed > slots.LEASE.total_seconds():
                os._exit(1)


def _use_all_cores() -> None:
    """PyTorch takes the cores of the machine; a container or taskset may give this process fewer."""
    import torch

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))
