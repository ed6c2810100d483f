"""What a person calls a model: a folder, a name, name@version, or the beginning of a digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medk2n_node.config import Config
from medk2n_node.errors import InputError, UsageError
from medk2n_node.models.choice import choose
from medk2n_node.models.shelf import shelf_of

PACKAGED = "demo"
_SHORTEST = 6


@dataclass(frozen=True, kw_only=True)
class Found:
    """A bundle by its folder. Name and version are what its manifest says, unverified; empty where unreadable."""

    folder: Path
    digest: str
    name: str
    version: str
    packaged: bool


def all_models(config: Config) -> list[Found]:
    """The packaged bundle, and every version on the shelf."""
    from model.bundle import default_folder

    found = [_look(default_folder(), packaged=True)]
    found += [_look(one.folder, digest=one.digest) for one in shelf_of(config).versions()]
    return found


def find(config: Config, text: str | None) -> Found:
    """The model that `text` means; None: the one in force.

    Raises:
        InputError: nothing is called that. UsageError: several are.
    """
    if text is None:
        return _look(choose(config).folder)
    if Path(text).is_dir():
        return _look(Path(text))
    models = all_models(config)
    if text == PACKAGED:
        return models[0]
    name, _, version = text.partition("@")
    fitting = [
        one
        for one in models
        if (one.name == name and version in ("", one.version))
        or (len(text) >= _SHORTEST and one.digest.startswith(text.lower()))
    ]
    by_digest = {one.digest: one for one in fitting}
    if len(by_digest) == 1:
        return next(iter(by_digest.values()))
    if by_digest:
        names = ", ".join(f"{one.name}@{one.version} ({one.digest[:12]})" for one in by_digest.values())
        raise UsageError(
            code="which_model", subject=text, reason=f"several models are called that: {names}",
            cure="Name one by name@version or by its digest",
        )  # fmt: skip
    raise InputError(
        code="unknown_model", subject=text, reason="it is neither a folder nor a model of this node",
        cure="medk2n models list shows what there is",
    )  # fmt: skip


def _look(folder: Path, *, digest: str | None = None, packaged: bool = False) -> Found:
    from model.bundle import read_stated, stated_digest

    stated = read_stated(folder)  # empty where damaged or absent: `verify` says what is wrong with it
    return Found(
        folder=folder,
        digest=digest or stated_digest(folder) or "",
        name=str(stated.get("name", "")),
        version=str(stated.get("version", "")),
        packaged=packaged,
    )
