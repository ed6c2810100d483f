"""Where a configuration value came from, so that an error can name the key, the line and a valid example."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from medk2n_node.errors import ConfigError

ENVIRONMENT_PREFIX = "MEDK2N__"
_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\"' -]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The values to be checked, and where each of them stands."""

    values: dict[str, Any]
    folder: Path
    file: Path | None
    model: type[BaseModel]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    variables: Mapping[KeyPath, str] = field(default_factory=dict)

    def place(self, key: KeyPath) -> str:
        """Where `key` is set: the environment variable, or file and line, of it or its nearest parent."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.variables:
                return f"environment variable {self.variables[key[:length]]}"
            if key[:length] in self.lines:
                return f"{self.file} line {self.lines[key[:length]]}"
        for below, variable in self.variables.items():
            if below[: len(key)] == key:
                return f"environment variable {variable}"
        return str(self.file) if self.file else "configuration"

    def explain(self, error: ValidationError) -> ConfigError:
        """The first fault of `error` as one sentence a person can act on; the others are counted."""
        faults = error.errors(include_url=False)
        # An unknown key is most often the cause of the other faults (a required key misspelt): say it first.
        fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
        key: KeyPath = tuple(fault["loc"])
        place = self.place(key)
        more = f" ({len(faults) - 1} more to correct after it)" if len(faults) > 1 else ""
        if fault["type"] == "extra_forbidden":
            return ConfigError(
                code="config_unknown_key",
                subject=f"{place}: {dotted(key)}",
                reason="there is no such key" + more,
                cure=self._suggestion(key),
            )
        code = "config_missing_key" if fault["type"] == "missing" else "config_bad_value"
        message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        given = fault["input"]
        shown = "" if isinstance(given, (dict, list, tuple, BaseModel)) else f", not {toml_value(given)}"
        reason = "this key is required" if fault["type"] == "missing" else message + shown
        example = valid_example(self.model, key)
        return ConfigError(
            code=code,
            subject=f"{place}: {dotted(key)}",
            reason=reason + more,
            cure=f"A valid example: {example}"
            if example
            else "See node.toml for the keys and their defaults",
        )

    def _suggestion(self, key: KeyPath) -> str:
        known = [path for path, _ in walk_fields(self.model)]
        wanted = dotted(tuple(part for part in key if isinstance(part, str)))
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
        if not near:
            leaf = str(key[-1])
            by_leaf = {path.rsplit(".", 1)[-1]: path for path in known}
            near = [by_leaf[name] for name in difflib.get_close_matches(leaf, list(by_leaf), n=1, cutoff=0.6)]
        if not near:
            return "See node.toml for all keys"
        example = valid_example(self.model, tuple(near[0].split(".")))
        return (
            f"Did you mean {near[0]}? A valid example: {example}" if example else f"Did you mean {near[0]}?"
        )


def read_source(path: Path | None, environ: Mapping[str, str], model: type[BaseModel]) -> Source:
    """Read the file and the environment into one mapping; raises ConfigError when either cannot be read."""
    values: dict[str, Any] = {}
    lines: dict[KeyPath, int] = {}
    folder = Path.cwd()
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                code="config_unreadable",
                subject=str(path),
                reason=f"the configuration file cannot be read ({_first_line(error)})",
                cure="Give an existing UTF-8 file with --config FILE",
            ) from error
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                code="config_not_toml",
                subject=str(path),
                reason=f"not valid TOML: {_first_line(error)}",
                cure='A valid example: quiet_seconds = 60 below a line [completion]; text stands in "quotes"',
            ) from error
        lines = locate(text)
        folder = path.resolve().parent
    variables: dict[KeyPath, str] = {}
    for name in sorted(environ):
        if name.startswith(ENVIRONMENT_PREFIX):
            key = tuple(part.lower() for part in name.removeprefix(ENVIRONMENT_PREFIX).split("__"))
            _set(values, key, _parsed(model, key, environ[name]), name)
            variables[key] = name
    return Source(values=values, folder=folder, file=path, model=model, lines=lines, variables=variables)


def locate(text: str) -> dict[KeyPath, int]:
    """The line of every table header and key of a TOML text (1 is the first line)."""
    found: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    prefix: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            names: KeyPath = tuple(part.strip(" \"'") for part in header[2].split("."))
            if header[1] == "[[":
                index = counts.get(names, 0)
                counts[names] = index + 1
                prefix = (*names, index)
            else:
                prefix = names
            found.setdefault(prefix, number)
        elif key := _KEY.match(line):
            found.setdefault((*prefix, key[1]), number)
    return found


def dotted(key: KeyPath) -> str:
    """`("peers", 0, "hosts")` as `peers[0].hosts`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def walk_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of the tree as (dotted name, field); keys of arrays of tables stand under the array's name."""
    for name, info in model.model_fields.items():
        below = _section_of(info.annotation)
        if below is None:
            yield prefix + name, info
        else:
            yield from walk_fields(below, f"{prefix}{name}.")


def valid_example(model: type[BaseModel], key: KeyPath) -> str:
    """A line that is valid for `key`: its example where it has one, else its default; "" for a whole section."""
    current: type[BaseModel] | None = model
    info: FieldInfo | None = None
    name = ""
    for part in key:
        if isinstance(part, str) and current is not None and part in current.model_fields:
            info, name = current.model_fields[part], part
            current = _section_of(info.annotation)
    if info is None or current is not None:
        return ""
    if info.examples:
        return f"{name} = {toml_value(info.examples[0])}"
    return f"{name} = {toml_value(info.get_default(call_default_factory=False))}"


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is tuple:
        first = get_args(annotation)[0]
        return first if isinstance(first, type) and issubclass(first, BaseModel) else None
    return None


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(one) for one in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _parsed(model: type[BaseModel], key: KeyPath, text: str) -> Any:
    """An environment value: text stays text where the key holds text, anything else is read as TOML."""
    fields = dict(walk_fields(model))
    info = fields.get(".".join(str(part) for part in key))
    if info is not None and info.annotation is str:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _set(values: dict[str, Any], key: KeyPath, value: Any, variable: str) -> None:
    table = values
    for part in key[:-1]:
        below = table.setdefault(str(part), {})
        if not isinstance(below, dict):
            raise ConfigError(
                code="config_bad_variable",
                subject=f"environment variable {variable}",
                reason=f"{part} is not a table whose keys can be set one by one",
                cure=f"Set the whole list: MEDK2N__{str(part).upper()}='[{{...}}]', or use the file",
            )
        table = below
    table[str(key[-1])] = value


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
