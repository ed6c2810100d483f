"""Write the parts of docs/ that come from the code: states, configuration, commands, the conformance statement.

    make docs                        writes them
    python docs/build.py --check     exit code 1 and a list of the pages that are behind the code

A generated part stands between `<!-- made by docs/build.py: NAME -->` and `<!-- end -->`; the rest of a page is
written by hand and kept.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).resolve().parent
NODE_TOML = DOCS.parent / "node.toml"
BLOCK = re.compile(r"(<!-- made by docs/build\.py: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


# What comes with psycopg[binary] and with sqlalchemy[asyncio] (dbos imports the latter without declaring it).
WITH_EXTRA = {"fsspec": ["aiohttp"], "psycopg": ["psycopg-binary"], "sqlalchemy": ["greenlet"]}


def states_diagram() -> str:
    """The transition table of `medk2n_node.study.states` as a Mermaid diagram."""
    from medk2n_node.study.states import FINAL, TRANSITIONS, State

    arrows = [pair for pair in TRANSITIONS if pair[1] is not State.SUPERSEDED]
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {'[*]' if old is None else old.value} --> {new.value}" for old, new in arrows]
    lines += [
        f"    {state.value} --> [*]" for state in State if state in FINAL and state is not State.SUPERSEDED
    ]
    replaced = [old.value for old, new in TRANSITIONS if new is State.SUPERSEDED and old is not None]
    lines += [
        "```",
        "",
        f"Not drawn: a newer revision of the study takes {', '.join(replaced[:-1])} and {replaced[-1]}",
    ]
    return "\n".join([*lines, "to SUPERSEDED, which nothing leaves."])


def states_table() -> str:
    """Each state with its meaning, and each arrow with its cause."""
    from medk2n_node.study import states

    meanings = _member_docstrings(inspect.getsource(states.State))
    lines = ["| state | meaning | leaves to | when |", "|---|---|---|---|"]
    for state in states.State:
        leaving = [(new.value, why) for (old, new), why in states.TRANSITIONS.items() if old is state]
        first, rest = (leaving[0], leaving[1:]) if leaving else (("", "end"), [])
        lines.append(f"| {state.value} | {meanings[state.name]} | {first[0]} | {first[1]} |")
        lines += [f"| | | {new} | {why} |" for new, why in rest]
    return "\n".join(lines)


def configuration() -> str:
    """node.toml as a reference: one section per table, one row per key with its default and its comment."""
    from medk2n_node.config import Config
    from medk2n_node.config_source import walk_fields

    fields = dict(walk_fields(Config))
    lines: list[str] = []
    comment: list[str] = []
    section = meaning = ""
    for raw in NODE_TOML.read_text(encoding="utf-8").splitlines():
        # A block that is commented out, such as [[peers]], is documented like the others.
        line = raw[2:] if re.match(r"^# (\[\[|# |[a-z_]+ = )", raw) else raw
        if header := re.match(r"^\[\[?([a-z_.]+)\]\]?$", line):
            section = header[1]
            lines += ["", f"### `{line}`", "", *([" ".join(comment), ""] if comment else [])]
            lines += ["| key | default | meaning |", "|---|---|---|"]
            comment = []
        elif key := re.match(r"^([a-z_]+) = (.+)$", line):
            meaning = " ".join(comment).replace("|", "\\|") or meaning  # several keys may share a comment
            required = fields[f"{section}.{key[1]}"].is_required()
            lines.append(f"| `{key[1]}` | {'required' if required else f'`{key[2]}`'} | {meaning} |")
            comment = []
        elif line.startswith("#"):
            comment.append(line.lstrip("# "))
        elif not section:
            comment = []  # the head of the file
    return "\n".join(lines).strip()


def commands() -> str:
    """The commands of `medk2n` with their first sentence."""
    import typer

    from medk2n_node.cli.app import app

    lines = ["| command | what it does |", "|---|---|"]
    for path, command in _walk(typer.main.get_command(app), "medk2n"):
        sentence = " ".join((command.help or command.short_help or "").split("\n\n")[0].split())
        lines.append(f"| `{path}` | {sentence} |")
    return "\n".join(lines)


def dependencies() -> str:
    """Every locked package that is not a direct dependency, with the packages that need it."""
    from medk2n_node.installation.environment import pins

    locked: set[str] = set()
    for name in ("torch", "lock", "demo", "train", "test"):
        locked |= set(pins((DOCS.parent / "requirements" / f"{name}.txt").read_text(encoding="utf-8")))
    needed_by: dict[str, set[str]] = {}
    for package in locked:
        for needed in needs(package):
            needed_by.setdefault(needed, set()).add(package)
    lines = ["| package | needed by |", "|---|---|"]
    for package in sorted(locked - direct()):
        lines.append(f"| {package} | {', '.join(sorted(needed_by.get(package, set()))) or 'nobody'} |")
    return "\n".join(lines)


def direct() -> set[str]:
    """The packages of the hand-written tables of docs/dependencies.md, by canonical name."""
    text = BLOCK.sub("", (DOCS / "dependencies.md").read_text(encoding="utf-8"))
    return {name.replace("_", "-") for name in re.findall(r"^\| ([a-z0-9_-]+) \|", text, re.MULTILINE)} - {
        "package"
    }


def needs(package: str) -> set[str]:
    """What an installed package requires, extras aside (canonical names)."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = [line for line in requires(package) or [] if "extra ==" not in line]
    except PackageNotFoundError:
        sys.exit(f"error: {package} is not installed, so what it needs is unknown. make test installs it.")
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines]
    names += WITH_EXTRA.get(package, [])
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def conformance() -> str:
    """The conformance statement of a node with the default configuration, less the title that the page has."""
    from dicom_rules.conformance import to_markdown
    from medk2n_node.cli.conformance import document_of
    from medk2n_node.config import Config

    return to_markdown(document_of(Config())).partition("\n\n")[2].rstrip("\n")


PARTS: dict[str, Callable[[], str]] = {
    "states-diagram": states_diagram,
    "states-table": states_table,
    "configuration": configuration,
    "commands": commands,
    "conformance": conformance,
    "dependencies": dependencies,
}


def rebuilt(text: str) -> str:
    """The page with its generated parts as the code has them now."""
    return BLOCK.sub(lambda match: f"{match[1]}{PARTS[match['name']]()}\n{match[3]}", text)


def pages() -> list[Path]:
    """The pages that hold a generated part."""
    return [page for page in sorted(DOCS.rglob("*.md")) if BLOCK.search(page.read_text(encoding="utf-8"))]


def _member_docstrings(source: str) -> dict[str, str]:
    """The string under each member of an enum class, by member name (Python does not keep it)."""
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.Assign)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[ast.unparse(statement.targets[0])] = str(below.value.value)
    return found


def _walk(command, path: str):  # type: ignore[no-untyped-def]
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name in sorted(below):
        yield from _walk(below[name], f"{path} {name}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing, report what is behind")
    check = parser.parse_args().check
    behind = []
    for page in pages():
        old = page.read_text(encoding="utf-8")
        new = rebuilt(old)
        if new != old:
            behind.append(page)
            if not check:
                page.write_text(new, encoding="utf-8")
    for page in behind:
        print(f"{page.relative_to(DOCS.parent)}: {'behind the code, run make docs' if check else 'written'}")
    return 1 if check and behind else 0


if __name__ == "__main__":
    sys.exit(main())
