"""Logs are events with fields: one sentence, and the study, series, peer or job that it is about.

UIDs and AE titles may be logged; attributes of a patient may not. As a last guard, fields with a name that
stands for such an attribute are masked, and what libraries quote in their errors and warnings is taken out.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from medk2n_node.observe.redaction import traceback_of, without_values

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

    Records of libraries that use the standard `logging` go the same way, warnings and above, and so do Python
    warnings; pydicom's, which repeat the values that they are about, only say where they arose.
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
        structlog.processors.ExceptionRenderer(traceback_of),
    ]
    renderer: Processor
    if as_text:
        # Its own form of a traceback would show the values of local variables, data sets among them.
        renderer = structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
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
        structlog.stdlib.ProcessorFormatter(
            processors=[_drop_meta, renderer], foreign_pre_chain=[_without_values, *shared]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # the same as its warnings, values included
    warnings.showwarning = _log_warning


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose events carry `room=name`."""
    return cast("FilteringBoundLogger", structlog.get_logger(room=name))


def mask_patient_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Mask what must not stand in a log, should it ever be handed over."""
    for field in event:
        if field.lower() in PATIENT_FIELDS:
            event[field] = MASK
    return event


def _without_values(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["event"] = without_values(str(event.get("event", "")))
    return event


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A Python warning as an event; the signature is that of `warnings.showwarning`."""
    place = Path(filename)
    where = {"category": category.__name__, "place": f"{place.parent.name}/{place.name}:{lineno}"}
    log = get_logger("observe")
    if "pydicom" in place.parts:
        log.debug("pydicom warns of a value", **where)
    else:
        log.warning("a library warns", words=without_values(str(message)), **where)


def _drop_meta(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, method, event)
