"""What the steps of a study need: the configuration, the database, the clock and the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from medk2n_node.config import Config
from medk2n_node.store import Store

if TYPE_CHECKING:
    from model import Bundle

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time of the machine, aware, in UTC."""
    return datetime.now(UTC)


def node_version() -> str:
    """The version of this software as it is installed."""
    try:
        return metadata.version("medk2n")
    except metadata.PackageNotFoundError:
        return "0+source"


@dataclass(frozen=True, kw_only=True)
class Context:
    """Passed to every step. `bundle()` gives the weights in force and loads them on the first call.

    `synthesize` stands in for `model.synthesize` in tests; None is the model itself.
    """

    config: Config
    store: Store
    bundle: Callable[[], Bundle]
    clock: Clock = utc_now
    synthesize: Callable[..., Any] | None = field(default=None)
