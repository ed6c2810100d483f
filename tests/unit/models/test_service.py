"""The worker's model: exchanged between two studies, never within one, and refused in words when it is broken."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from medk2n_node.config import Config
from medk2n_node.models import ModelService, ModelUnusable, shelf_of
from model import Bundle
from model.bundle import stated_digest
from tests.unit.models.test_models_commands import flip

NOW = datetime(2026, 2, 1, 8, tzinfo=UTC)


def use(node: Config, folder: Path) -> None:
    shelf_of(node).use(folder, who="test", reason="", now=NOW)


def test_the_open_model_is_kept_until_another_is_put_into_service(
    node: Config, versions: dict[str, Path], demo: Bundle
) -> None:
    service = ModelService(node)
    first = service()
    assert first.digest == demo.digest
    assert service() is first
    use(node, versions["1"])
    assert service().version == "1"
    shelf_of(node).rollback(who="test", reason="", now=NOW)
    assert service() is first


def test_a_study_in_progress_gets_the_model_that_it_began_with(
    node: Config, versions: dict[str, Path]
) -> None:
    use(node, versions["1"])
    service = ModelService(node)
    began = service()
    use(node, versions["2"])
    assert service().version == "2"
    assert service.named(began.digest) is began
    restarted = ModelService(node)
    assert restarted().version == "2"
    assert restarted.named(began.digest).version == "1"


def test_a_model_that_is_nowhere_is_refused_by_its_digest(node: Config) -> None:
    with pytest.raises(ModelUnusable, match="not among the models of this node any more") as caught:
        ModelService(node).named("ab" * 32)
    assert caught.value.code == "model_gone"


def test_a_broken_model_in_service_is_refused_in_words_until_it_is_rolled_back(
    node: Config, versions: dict[str, Path], demo: Bundle
) -> None:
    use(node, versions["1"])
    flip(shelf_of(node).path(str(stated_digest(versions["1"]))) / "bundle.json")
    service = ModelService(node)
    with pytest.raises(ModelUnusable, match=r"bundle\.json.*changed or cut short") as caught:
        service()
    assert caught.value.code == "model_unusable"
    assert "medk2n models rollback" in caught.value.cure
    shelf_of(node).rollback(who="test", reason="broken", now=NOW)
    assert service().digest == demo.digest


def test_a_configured_bundle_that_is_written_anew_is_taken_with_the_next_study(
    config_file: Path, versions: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    from medk2n_node.config import load_config

    site = tmp_path / "site"
    shutil.copytree(versions["1"], site)
    config_file.write_text(config_file.read_text() + f'[synthesis]\nmodel = "{site}"\n')
    service = ModelService(load_config(config_file, {}))
    assert service().version == "1"
    shutil.copytree(versions["2"], site, dirs_exist_ok=True)
    assert service().version == "2"
