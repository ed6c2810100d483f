"""Which bundle is in force: a configured one wins, then the one in service, then the one that came with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medk2n_node.config import Config
from medk2n_node.models.shelf import shelf_of

if TYPE_CHECKING:
    from model import Bundle


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The folder of the bundle in force, and why it is that one."""

    folder: Path
    because: Literal["configured", "in_service", "packaged"]

    @property
    def words(self) -> str:
        """The reason as a sentence."""
        return {
            "configured": f"[synthesis] model names {self.folder}; it outranks `medk2n models use`",
            "in_service": "it was put into service with `medk2n models`",
            "packaged": "no other was chosen: these are the demonstration weights of the package, not for clinical use",
        }[self.because]


def choose(config: Config) -> Choice:
    """The bundle in force; nothing is opened. Raises StoreError when the record of the models cannot be read."""
    if config.synthesis.model:
        return Choice(folder=Path(config.synthesis.model), because="configured")
    shelf = shelf_of(config)
    digest = shelf.record().in_service
    if digest is not None:
        return Choice(folder=shelf.path(digest), because="in_service")
    from model.bundle import default_folder

    return Choice(folder=default_folder(), because="packaged")


def load_in_force(config: Config) -> Bundle:
    """The bundle in force, opened. Raises BundleError, StoreError."""
    from model import load_bundle

    return load_bundle(choose(config).folder)
