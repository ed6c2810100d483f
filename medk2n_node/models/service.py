"""The worker's model: opened once, looked at again before every study, exchanged only between two.

A study that has begun asks for its own model by digest and finishes with it, whatever was put into service since.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from medk2n_node.config import Config
from medk2n_node.errors import SafetyError, StoreError
from medk2n_node.models.choice import choose
from medk2n_node.models.shelf import shelf_of
from medk2n_node.observe import get_logger

if TYPE_CHECKING:
    from model import Bundle

log = get_logger("models")
OPEN_AT_ONCE = 2
"""The model in force, and the one that a study in progress began with."""


class ModelUnusable(SafetyError):
    """The model that is asked for cannot be used; the words say why and what helps."""


class ModelService:
    """Opened bundles of one worker. Safe for use by its threads."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._guard = threading.Lock()
        self._open: dict[str, Bundle] = {}

    def __call__(self) -> Bundle:
        """The bundle in force now: one look at two small files, and an opening only when it changed.

        Raises:
            ModelUnusable: the bundle in force is damaged, gone, or of another version.
        """
        from model import ModelError
        from model.bundle import stated_digest

        with self._guard:
            try:
                choice = choose(self._config)
                stated = stated_digest(choice.folder)
                return self._opened(choice.folder, stated)
            except (ModelError, StoreError) as error:
                raise _unusable("the model in force", error) from error

    def named(self, digest: str) -> Bundle:
        """The bundle with this digest: opened already, in force, or on the shelf.

        Raises:
            ModelUnusable: it is nowhere, or damaged.
        """
        from model import ModelError
        from model.bundle import default_folder, stated_digest

        with self._guard:
            if digest in self._open:
                return self._open[digest]
            try:
                places = [shelf_of(self._config).path(digest), choose(self._config).folder, default_folder()]
                for folder in places:
                    if stated_digest(folder) == digest:
                        return self._opened(folder, digest)
            except (ModelError, StoreError) as error:
                raise _unusable(f"the model {digest[:12]}", error) from error
        raise ModelUnusable(
            code="model_gone",
            subject=f"the model {digest[:12]}",
            reason="it is not among the models of this node any more",
            cure="Restore it, or let the study be planned again with the model in force",
        )

    def _opened(self, folder: Path, digest: str | None) -> Bundle:
        if digest is not None and digest in self._open:
            bundle = self._open.pop(digest)  # to the end: the one used last is dropped last
        else:
            from model import load_bundle

            bundle = load_bundle(folder)
            log.info("model opened", model=bundle.name, version=bundle.version, digest=bundle.digest[:12])
        self._open[bundle.digest] = bundle
        while len(self._open) > OPEN_AT_ONCE:
            self._open.pop(next(iter(self._open)))
        return bundle


def _unusable(subject: str, error: object) -> ModelUnusable:
    what, reason, cure = (str(getattr(error, name)) for name in ("subject", "reason", "cure"))
    return ModelUnusable(
        code="model_unusable",
        subject=subject,
        reason=f"it cannot be used: {what}: {reason}",
        cure=f"{cure.rstrip('.')}; or medk2n models rollback, or medk2n models use NAME",
    )
