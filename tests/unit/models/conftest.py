"""Bundles that differ in their version alone, and a way to call `medk2n models`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medk2n_node.cli.app import main
from medk2n_node.config import Config
from model import Bundle, load_bundle, save_bundle


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demonstration weights as versions 1, 2 and 3 of a model called `site`."""
    demo = load_bundle()
    facts = {k: v for k, v in demo.manifest.items() if k not in ("schema", "sha256", "network")}
    folder = tmp_path_factory.mktemp("versions")
    for version in ("1", "2", "3"):
        save_bundle(folder / version, demo.network, {**facts, "name": "site", "version": version}, demo.card)
    return {version: folder / version for version in ("1", "2", "3")}


@pytest.fixture(scope="session")
def demo() -> Bundle:
    """The weights that come with the package."""
    return load_bundle()


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """The configuration of a node of this test's own."""
    file = tmp_path / "node.toml"
    file.write_text('[node]\nstorage = "storage"\ndatabase = "sqlite:///medk2n.db"\n')
    return file


@pytest.fixture
def node(config_file: Path) -> Config:
    """The same configuration as the node reads it."""
    from medk2n_node.config import load_config

    return load_config(config_file, {})


Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def models(config_file: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """`medk2n models ... --json`: its exit code and its document."""

    def call(*arguments: object) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["--config", str(config_file), "models", *map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call
