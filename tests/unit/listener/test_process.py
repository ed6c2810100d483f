"""The listener's process stays small: what it must never import, and what it says in its log."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
import structlog

from medk2n_node.config import ObserveSection
from medk2n_node.observe import configure_logging, get_logger

HEAVY = ("torch", "transformers", "peft", "SimpleITK", "sam2", "monai", "model", "training", "dbos", "scipy")


@pytest.mark.parametrize("module", ["medk2n_node.listener", "medk2n_node.cli", "medk2n_node.store"])
def test_nothing_heavy_is_imported(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def log() -> io.StringIO:
    stream = io.StringIO()
    configure_logging(ObserveSection(log_format="json"), process="listener", stream=stream)
    return stream


@pytest.fixture(autouse=True)
def _plain_logging() -> object:
    import logging

    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def test_an_event_is_one_json_line_with_its_fields(log: io.StringIO) -> None:
    get_logger("listener").info("listening", port=11112)
    event = json.loads(log.getvalue())
    assert (event["event"], event["port"], event["process"], event["level"]) == (
        "listening",
        11112,
        "listener",
        "info",
    )


def test_attributes_of_a_patient_are_masked(log: io.StringIO) -> None:
    get_logger("listener").warning("odd", patient_id="4711", PatientName="Doe^J", sop_uid="1.2.3")
    assert "4711" not in log.getvalue() and "Doe" not in log.getvalue()
    assert json.loads(log.getvalue())["sop_uid"] == "1.2.3"


def test_below_the_level_nothing_is_said(log: io.StringIO) -> None:
    get_logger("listener").debug("detail")
    assert log.getvalue() == ""
