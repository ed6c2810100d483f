"""The documentation says what the code does: no stale page, no dead link, no command or key that does not exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from dicom_rules.protocols import protocols_from_toml
from medk2n_node.cli.app import app
from medk2n_node.config import Config
from medk2n_node.config_source import walk_fields

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
CODE = re.compile(r"```(?P<language>[a-z]*)\n(?P<text>.*?)```", re.DOTALL)


def named(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def load_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", REPOSITORY / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_parts_that_come_from_the_code_are_up_to_date() -> None:
    builder = load_builder()
    assert len(builder.pages()) >= 4
    for page in builder.pages():
        text = page.read_text(encoding="utf-8")
        assert builder.rebuilt(text) == text, f"{named(page)} is behind the code: make docs"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{named(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{named(page)} links to {target}"


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_names_a_folder_of_somebodys_machine(page: Path) -> None:
    assert not re.search(r"(^|[\s`\"'(])/(home|root|work|tmp|Users)/", page.read_text(encoding="utf-8"))


def test_every_key_of_the_configuration_is_documented() -> None:
    text = (REPOSITORY / "docs" / "guides" / "configuration.md").read_text(encoding="utf-8")
    documented = set()
    section = ""
    for line in text.splitlines():
        if header := re.match(r"^### `\[+([a-z_.]+)\]+`$", line):
            section = header[1]
        elif row := re.match(r"^\| `([a-z_]+)` \|", line):
            documented.add(f"{section}.{row[1]}")
    assert documented == {name for name, _ in walk_fields(Config)}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_examples_of_node_toml_are_valid(page: Path) -> None:
    for block in CODE.finditer(page.read_text(encoding="utf-8")):
        if block["language"] == "toml" and "[[protocol]]" in block["text"]:
            assert protocols_from_toml(block["text"], source=page.name)
        elif block["language"] == "toml":
            Config.model_validate(tomllib.loads(block["text"]))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_keys_named_in_a_sentence_exist(page: Path) -> None:
    """`quiet_seconds`, `[node] storage`, `MEDK2N__COMPLETION__QUIET_SECONDS`."""
    text = page.read_text(encoding="utf-8")
    paths = {name for name, _ in walk_fields(Config)}
    leaves = {name.rsplit(".", 1)[-1] for name in paths}
    for section, key in re.findall(r"`\[([a-z.]+)\] ([a-z_]+)", text):
        assert f"{section}.{key}" in paths, f"{named(page)}: [{section}] {key}"
    for key in re.findall(r"`([a-z_]+_(?:seconds|minutes|hours|days|mb|bytes))\b", text):
        assert key in leaves, f"{named(page)}: {key}"
    for variable in re.findall(r"MEDK2N__([A-Z_0-9]+)", text):
        dotted = variable.lower().replace("__", ".")
        assert any(path == dotted or path.startswith(f"{dotted}.") for path in paths), (
            f"{named(page)}: {variable}"
        )


def command_lines(text: str) -> Iterator[list[str]]:
    """The `medk2n ...` invocations in a page's code blocks and code spans, as words."""
    for block in CODE.finditer(text):
        for line in block["text"].splitlines():
            if found := re.match(r"^\s*(?:\$ )?(?:\.venv/bin/)?(medk2n .*)$", line):
                yield words(found[1])
    for span in re.findall(r"`(medk2n [^`]+)`", CODE.sub("", text)):
        yield words(span)


def words(line: str) -> list[str]:
    before = re.split(r"\s{3,}|\s[&|>#]", line, maxsplit=1)[0]
    try:
        return shlex.split(before)
    except ValueError:
        return before.split()


def resolve(line: list[str]) -> None:
    """Walk the command tree along the words; raise AssertionError at a command or option that is not there."""
    command: Any = typer.main.get_command(app)
    known = options(command)
    rest = iter(line[1:])
    for word in rest:
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
            assert name in known, f"{' '.join(line)}: no option {name}"
            if known[name] and not equals:
                next(rest, None)
        elif getattr(command, "commands", None) and not word.startswith("-"):
            for choice in word.split("|"):  # config check|show
                assert choice in command.commands, f"{' '.join(line)}: no command {choice}"
            command = command.commands[word.split("|")[0]]
            known |= options(command)


def options(command: Any) -> dict[str, bool]:
    """Each option with whether it takes a value."""
    found = {"--help": False}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            for name in [*parameter.opts, *parameter.secondary_opts]:
                found[name] = not parameter.is_flag
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_options_that_are_shown_exist(page: Path) -> None:
    for line in command_lines(page.read_text(encoding="utf-8")):
        if "COMMAND" in line:  # stands for any of them
            continue
        resolve(line)


def test_the_check_of_commands_finds_what_does_not_exist() -> None:
    with pytest.raises(AssertionError, match="no command teleport"):
        resolve(["medk2n", "teleport"])
    with pytest.raises(AssertionError, match="no option --loud"):
        resolve(["medk2n", "config", "show", "--loud"])


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_that_are_shown_exist(page: Path) -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"`make ([a-z]+)", text)
    for block in CODE.finditer(text):
        shown += re.findall(r"^\s*(?:\$ )?make ([a-z]+)", block["text"], re.MULTILINE)
    assert set(shown) <= targets


def test_every_command_is_in_the_list_of_commands() -> None:
    text = (REPOSITORY / "docs" / "guides" / "commands.md").read_text(encoding="utf-8")
    command: Any = typer.main.get_command(app)
    assert len(command.commands) >= 10
    for name in command.commands:
        assert f"`medk2n {name}" in text, name


def test_the_readme_says_what_it_is_before_anything_else_and_warns() -> None:
    lines = [
        line for line in (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    assert lines[0] == "# medk2n"
    assert "DICOM" in lines[1]
    head = " ".join(lines[:12])
    assert "research use" in head.lower()
    assert "make demo" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_every_decision_is_listed() -> None:
    folder = REPOSITORY / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for page in folder.glob("[0-9]*.md"):
        assert f"({page.name})" in listed
        assert page.read_text(encoding="utf-8").startswith(f"# {page.name[:4]} ")
        for heading in ("**Question.**", "**Choice.**", "**Given up.**"):
            assert heading in page.read_text(encoding="utf-8"), f"{page.name}: {heading}"


def test_the_changelog_keeps_its_form() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Known limits"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= allowed
