"""Logs are events with fields: one sentence, and the study, series, peer or job that it is about.

UIDs and AE titles may be logged; attributes of a patient may not. As a last guard, fields with a name that
stands for such an attribute are masked.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

    from medk2n_node.config import ObserveSection

PATIENT_FIELDS = frozenset(
    {
        "patient",
        "patient_name",
        "patient_id",
        "patientname",
        "patientid",
        "birth_date",
        "accession_number",
        "dataset",
        "header",
    }
)
MASK = "(not logged)"


def configure_logging(observe: ObserveSection, *, process: str, stream: TextIO | None = None) -> None:
    """Set up logging for this process, once, on standard error (or `stream`).

    Records of libraries that use the standard `logging` go the same way, warnings and above.
    """
    target = stream if stream is not None else sys.stderr
    level = logging.getLevelNamesMapping()[observe.log_level.upper()]
    as_text = observe.log_format == "text" or (observe.log_format == "auto" and target.isatty())

    def name_process(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["process"] = process  # not a context variable: those do not reach threads
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        structlog.stdlib.add_log_level,
        mask_patient_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor
    if as_text:
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty())
        shared.pop()  # the console renders exceptions itself
    else:
        renderer = structlog.processors.JSONRenderer(sort_keys=True)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[_drop_meta, renderer], foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose events carry `room=name`."""
    return cast("FilteringBoundLogger", structlog.get_logger(room=name))


def mask_patient_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Mask what must not stand in a log, should it ever be handed over."""
    for field in event:
        if field.lower() in PATIENT_FIELDS:
            event[field] = MASK
    return event


def _drop_meta(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, method, event)
