"""What a person sees of the models: put into service, rolled back, verified, listed, and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medk2n_node.cli.app import main
from medk2n_node.config import Config
from medk2n_node.models import shelf_of
from model import Bundle, load_bundle
from model.bundle import default_folder, stated_digest
from tests.unit.models.conftest import Call


def flip(file: Path) -> None:
    """Change one bit of one byte."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_fresh_node_runs_on_the_packaged_weights_and_says_so(models: Call, demo: Bundle) -> None:
    code, document = models("list")
    assert code == 0
    assert document["in_force"]["because"] == "packaged"
    assert [(one["digest"], one["in_force"]) for one in document["models"]] == [(demo.digest, True)]
    code, document = models("show")
    assert (code, document["digest"], document["in_service"]) == (0, demo.digest, False)
    assert "not for clinical use" in document["because"]


def test_a_model_is_put_into_service_with_who_when_and_why(
    models: Call, versions: dict[str, Path], demo: Bundle
) -> None:
    code, document = models("use", versions["1"], "--reason", "better T2", "--by", "Dr. K")
    assert (code, document["changed"], document["in_force"]) == (0, True, True)
    change = document["change"]
    assert (change["who"], change["reason"], change["version"]) == ("Dr. K", "better T2", "1")
    assert (change["digest"], change["before"]) == (stated_digest(versions["1"]), demo.digest)
    assert change["at"].endswith("+00:00")
    listed = models("list")[1]
    assert listed["in_force"]["because"] == "in_service"
    assert [one["version"] for one in listed["models"] if one["in_force"]] == ["1"]
    assert models("show")[1]["changes"] == [change]


def test_what_is_in_service_is_a_copy_that_outlives_the_folder_it_came_from(
    models: Call, versions: dict[str, Path], tmp_path: Path
) -> None:
    source = shutil.copytree(versions["1"], tmp_path / "source")
    models("use", source)
    shutil.rmtree(source)
    assert models("verify")[0] == 0
    assert models("show")[1]["version"] == "1"


def test_the_model_in_service_already_changes_nothing(models: Call, versions: dict[str, Path]) -> None:
    models("use", versions["1"])
    code, document = models("use", versions["1"])
    assert (code, document["changed"]) == (0, False)
    assert len(models("show")[1]["changes"]) == 1


def test_one_rollback_returns_to_the_model_before_and_further_ones_walk_on_to_the_packaged_weights(
    models: Call, versions: dict[str, Path], demo: Bundle
) -> None:
    for version in ("1", "2", "3"):
        models("use", versions[version])
    back = [models("rollback", "--reason", "worse")[1]["change"]["digest"] for _ in range(3)]
    assert back == [stated_digest(versions["2"]), stated_digest(versions["1"]), demo.digest]
    code, document = models("rollback")
    assert code == 2
    assert document["error"]["reason"] == "no model was in service before the present one"
    actions = [one["action"] for one in models("show")[1]["changes"]]
    assert actions == ["use"] * 3 + ["rollback"] * 3


def test_after_a_rollback_and_another_use_the_next_rollback_undoes_that_use(
    models: Call, versions: dict[str, Path]
) -> None:
    models("use", versions["1"])
    models("use", versions["2"])
    models("rollback")
    models("use", versions["3"])
    assert models("rollback")[1]["in_service"] == stated_digest(versions["1"])


def test_no_version_is_ever_deleted(models: Call, versions: dict[str, Path]) -> None:
    for version in ("1", "2"):
        models("use", versions[version])
    models("rollback")
    assert {one["version"] for one in models("list")[1]["models"]} >= {"1", "2"}


def test_a_kept_model_is_put_into_service_by_its_name_its_version_or_its_digest(
    models: Call, versions: dict[str, Path]
) -> None:
    models("use", versions["1"])
    models("use", versions["2"])
    assert models("use", "site@1")[1]["change"]["version"] == "1"
    assert models("use", str(stated_digest(versions["2"]))[:12])[1]["change"]["version"] == "2"
    assert models("use", "demo")[1]["change"]["name"] == "medk2n-demo"
    code, document = models("use", "site")
    assert code == 2
    assert "site@1" in document["error"]["reason"]
    code, document = models("use", "nobody")
    assert (code, document["error"]["code"]) == (3, "unknown_model")
    assert document["error"]["cure"] == "medk2n models list shows what there is"


@pytest.mark.parametrize("name", ["weights.safetensors", "bundle.json", "card.md", "sha256.txt"])
def test_a_bundle_with_one_flipped_byte_is_refused_and_nothing_changes(
    models: Call, versions: dict[str, Path], tmp_path: Path, name: str
) -> None:
    models("use", versions["1"])
    broken = shutil.copytree(versions["2"], tmp_path / "broken")
    flip(broken / name)
    code, document = models("use", broken)
    assert (code, document["error"]["code"]) == (3, "digest")
    assert name in document["error"]["subject"] + document["error"]["reason"]
    assert models("list")[1]["in_force"]["digest"] == stated_digest(versions["1"])
    code, document = models("verify", broken)
    assert (code, document["ok"], document["models"][0]["error"]["code"]) == (3, False, "digest")


def test_verify_without_a_name_looks_at_every_model_and_finds_the_damaged_one(
    models: Call, versions: dict[str, Path], node: Config
) -> None:
    models("use", versions["1"])
    models("use", versions["2"])
    assert models("verify")[0] == 0
    damaged = str(stated_digest(versions["1"]))
    flip(shelf_of(node).path(damaged) / "weights.safetensors")
    code, document = models("verify")
    assert code == 3
    assert {one["digest"]: one["ok"] for one in document["models"]} == {
        stated_digest(default_folder()): True,
        damaged: False,
        stated_digest(versions["2"]): True,
    }
    code, document = models("rollback")
    assert (code, document["error"]["code"]) == (3, "digest")


def test_a_damaged_version_is_replaced_when_the_sound_one_is_brought_again(
    models: Call, versions: dict[str, Path], node: Config
) -> None:
    models("use", versions["1"])
    kept = shelf_of(node).path(str(stated_digest(versions["1"])))
    flip(kept / "card.md")
    models("use", "demo")
    assert models("use", versions["1"])[0] == 0
    assert load_bundle(kept).version == "1"
    aside = [one.name for one in kept.parent.iterdir() if ".damaged-" in one.name]
    assert len(aside) == 1


def test_a_configured_file_outranks_what_was_put_into_service_and_every_command_says_so(
    config_file: Path, models: Call, versions: dict[str, Path]
) -> None:
    config_file.write_text(config_file.read_text() + f'[synthesis]\nmodel = "{versions["3"]}"\n')
    code, document = models("use", versions["1"])
    assert (code, document["in_service"], document["in_force"]) == (
        0,
        stated_digest(versions["1"]),
        False,
    )
    assert "it outranks `medk2n models use`" in document["because"]
    shown = models("show")[1]
    assert (shown["version"], shown["in_force"]) == ("3", True)
    assert "it outranks" in shown["because"]
    assert models("show", "site@1")[1]["in_force"] is False
    assert models("verify")[0] == 0


def test_weights_that_make_no_finite_values_are_refused(
    models: Call, versions: dict[str, Path], demo: Bundle, tmp_path: Path
) -> None:
    from model import save_bundle
    from model.network import MedK2N

    spoilt = MedK2N(demo.network.config)
    spoilt.load_state_dict(demo.network.state_dict())
    spoilt.taskhead.residual.bias.data.fill_(float("nan"))
    facts = {k: v for k, v in demo.manifest.items() if k not in ("schema", "sha256", "network")}
    save_bundle(tmp_path / "nan", spoilt, facts, demo.card)
    code, document = models("use", tmp_path / "nan")
    assert code == 3
    assert document["error"]["reason"] == "the network makes values that are not finite"


def test_a_record_that_cannot_be_read_stops_every_command_instead_of_guessing(
    models: Call, versions: dict[str, Path], node: Config
) -> None:
    models("use", versions["1"])
    (shelf_of(node).folder / "service.json").write_text('{"schema": 1, "chan')
    code, document = models("list")
    assert (code, document["error"]["code"]) == (1, "models_record")


def test_a_person_reads_names_reasons_and_the_card(
    config_file: Path, versions: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def say(*arguments: str) -> str:
        assert main(["--config", str(config_file), "models", *arguments]) == 0
        return " ".join(capsys.readouterr().out.split())

    said = say("use", str(versions["1"]), "--reason", "trial", "--by", "Dr. K")
    assert "A running node takes it with the next study." in said
    assert "Dr. K: use site 1" in (shown := say("show"))
    assert "uncalibrated" in shown
    assert "Known failures" in shown
    assert "* " + str(stated_digest(versions["1"]))[:12] in say("list")
    assert "whole, and it computes" in say("verify", "site@1")
    assert "came with the package" in say("list")


def test_the_plan_follows_the_model_in_service(models: Call, versions: dict[str, Path], node: Config) -> None:
    from medk2n_node.models import load_in_force

    models("use", versions["2"])
    assert load_in_force(node).version == "2"


def test_the_record_is_one_json_file_that_a_person_can_read(
    models: Call, versions: dict[str, Path], node: Config
) -> None:
    models("use", versions["1"], "--reason", "why not")
    document = json.loads((shelf_of(node).folder / "service.json").read_text())
    assert document["changes"][0]["reason"] == "why not"
