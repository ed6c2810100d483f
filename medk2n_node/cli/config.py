"""`medk2n config check|show`: is the configuration valid, and what is in force?"""

from __future__ import annotations

from typing import Any

import typer
from sqlalchemy.engine import make_url

from medk2n_node.cli.context import Invocation, JsonFlag, configuration, people, print_json
from medk2n_node.config import Config
from medk2n_node.config_source import toml_value

commands = typer.Typer(help="Check the configuration, or show what is in force.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add `config` to the command line."""
    app.add_typer(commands, name="config")


@commands.command()
def check(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Check the configuration; exit code 3 and the reason when it is not valid."""
    from medk2n_node.rules import check_rules

    check_rules(configuration(context))
    file = _file(context)
    if as_json:
        print_json({"valid": True, "file": file})
    else:
        people().print(f"{file or 'the built-in defaults'}: valid", soft_wrap=True)


@commands.command()
def show(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show every key and the value in force, after the file and the environment. Passwords are masked."""
    values = shown_values(configuration(context))
    if as_json:
        print_json(values)
    else:
        people().print(as_toml(values), soft_wrap=True, markup=False, end="")


def shown_values(config: Config) -> dict[str, Any]:
    """The tree as plain values, with the password of the database masked."""
    values: dict[str, Any] = config.model_dump(mode="json")
    values["node"]["database"] = make_url(config.node.database).render_as_string(hide_password=True)
    return values


def as_toml(values: dict[str, Any]) -> str:
    """The tree as TOML that `medk2n --config` reads again."""
    text = ""
    for section, table in values.items():
        if isinstance(table, list):
            text += "".join(f"[[{section}]]\n{_lines(block)}\n" for block in table)
            continue
        text += f"[{section}]\n{_lines(table)}"
        for name, blocks in table.items():
            if _is_blocks(blocks):
                text += "".join(f"[[{section}.{name}]]\n{_lines(block)}" for block in blocks)
        text += "\n"
    return text


def _lines(table: dict[str, Any]) -> str:
    return "".join(
        f"{name} = {toml_value(value)}\n" for name, value in table.items() if not _is_blocks(value)
    )


def _is_blocks(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _file(context: typer.Context) -> str | None:
    invocation = context.find_object(Invocation)
    return str(invocation.config_file) if invocation and invocation.config_file else None
