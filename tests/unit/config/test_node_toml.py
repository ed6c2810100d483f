"""node.toml is the documentation of the configuration: nothing is missing from it and nothing is too much."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from medk2n_node.config import Config, Section, load_config
from medk2n_node.config_source import walk_fields

NODE_TOML = Path(__file__).resolve().parents[3] / "node.toml"


def documented() -> dict[str, Any]:
    """node.toml with the blocks that are commented out switched on."""
    lines = []
    for line in NODE_TOML.read_text(encoding="utf-8").splitlines():
        lines.append(line[2:] if re.match(r"^# (\[\[|# |[a-z_]+ = )", line) else line)
    return tomllib.loads("\n".join(lines))


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            found |= flat(value[0], f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def test_every_key_of_the_tree_stands_in_node_toml_and_no_other() -> None:
    assert set(flat(documented())) == {name for name, _ in walk_fields(Config)}


def test_node_toml_as_it_stands_is_valid_and_changes_no_default() -> None:
    assert load_config(NODE_TOML, {}).model_dump(exclude={"node"}) == Config().model_dump(exclude={"node"})
    written = tomllib.loads(NODE_TOML.read_text(encoding="utf-8"))["node"]
    assert written == Config().node.model_dump()


def test_the_blocks_that_are_commented_out_are_valid_and_show_the_defaults() -> None:
    blocks = documented()
    config = Config.model_validate(blocks)
    for block in (config.peers[0], config.destinations[0], config.classification.overrides[0]):
        for name, field in type(block).model_fields.items():
            if not field.is_required() and not field.examples:
                assert getattr(block, name) == field.get_default(), f"{type(block).__name__}.{name}"


def test_every_key_has_a_comment_above_it() -> None:
    lines = NODE_TOML.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if not re.match(r"^(# )?[a-z_]+ = ", line):
            continue
        above = number - 1
        while re.match(r"^(# )?[a-z_]+ = ", lines[above]):
            above -= 1
        assert lines[above].startswith("#"), f"node.toml line {number + 1}: {line!r} is not explained"


@pytest.mark.parametrize("name", [name for name, _ in walk_fields(Config) if "seconds" in name])
def test_a_time_names_its_unit_in_the_comment_too(name: str) -> None:
    text = NODE_TOML.read_text(encoding="utf-8")
    before = text[: text.index(f"\n{name.rsplit('.', 1)[-1]} = ")]
    comment = re.findall(r"(?:^#[^\n]*\n?)+", before, flags=re.MULTILINE)[-1]
    assert "seconds" in comment


@pytest.mark.parametrize("section", Section.__subclasses__())
def test_every_section_is_frozen_and_refuses_unknown_keys(section: type[Section]) -> None:
    assert section.model_config["frozen"]
    assert section.model_config["extra"] == "forbid"
