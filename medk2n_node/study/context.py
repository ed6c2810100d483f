"""What the steps of a study need: the configuration, the database, the clock and the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from dicom_rules.derive import Maker
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
    """Passed to every step. `bundle()` gives the weights in force now; it raises ModelUnusable where they are none.

    `bundle_named(digest)` gives the weights that a study in progress began with; where it is None only the weights in
    force can be had. `synthesize` stands in for `model.synthesize` in tests; None is the model itself.
    """

    config: Config
    store: Store
    bundle: Callable[[], Bundle]
    clock: Clock = utc_now
    bundle_named: Callable[[str], Bundle] | None = field(default=None)
    synthesize: Callable[..., Any] | None = field(default=None)

    def maker(self, station: str, bundle: Bundle) -> Maker:
        """What the headers of the results say about this node and the weights."""
        return Maker(
            node_version=node_version(),
            model_name=bundle.name,
            model_version=bundle.version,
            model_digest=bundle.digest,
            ae_title=self.config.node.ae_title,
            station=station,
            content_qualification=self.config.results.content_qualification,
        )
