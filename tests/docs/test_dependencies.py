"""Every package is there for a reason: pyproject.toml, the locks, the imports and docs/dependencies.md agree."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medk2n_node.installation.environment import pins
from tests.docs.test_documentation import load_builder

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("medk2n_node", "dicom_rules", "model", "training")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCUMENT = (REPOSITORY / "docs" / "dependencies.md").read_text(encoding="utf-8")
LOCKS = {name: pins((REPOSITORY / "requirements" / f"{name}.txt").read_text(encoding="utf-8"))
         for name in ("torch", "lock", "demo", "train", "test", "dev")}  # fmt: skip
# Where a package of an extra is not installed, its import name is not known to importlib.
IMPORT_NAMES = {"mamba_ssm": "mamba-ssm", "causal_conv1d": "causal-conv1d", "open_clip": "open-clip-torch"}
# Loaded by another package, by name: SQLAlchemy loads the first, pydicom the others.
LOADED_BY_NAME = {"psycopg", "pyjpegls", "python-gdcm"}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in parsed if canonicalize_name(one.name) != "medk2n"}


BASE = requirements(PROJECT["dependencies"])
EXTRAS = {name: requirements(lines) for name, lines in PROJECT["optional-dependencies"].items()}


def imported() -> dict[str, set[str]]:
    """Every foreign distribution that our four packages import, with the files."""
    by_module = importlib.metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                for module in modules(node):
                    if module in sys.stdlib_module_names or module in PACKAGES:
                        continue
                    names = by_module.get(module) or [IMPORT_NAMES.get(module, module)]
                    for name in names:
                        found.setdefault(canonicalize_name(name), set()).add(
                            str(path.relative_to(REPOSITORY))
                        )
    return found


def modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.partition(".")[0]]
    return []


def reasons() -> dict[str, str]:
    """The hand-written rows: package -> why."""
    text = load_builder().BLOCK.sub("", DOCUMENT)
    rows = re.findall(r"^\| ([A-Za-z0-9_-]+) \|(?: [a-z]+ \|)? (.+) \|$", text, re.MULTILINE)
    return {canonicalize_name(name): why for name, why in rows if name != "package"}


def test_every_import_is_declared() -> None:
    declared = set(BASE) | {
        name for extra in ("demo", "clip", "train", "export", "cuda") for name in EXTRAS[extra]
    }
    undeclared = {name: files for name, files in imported().items() if name not in declared}
    assert not undeclared


def test_every_declared_package_is_imported() -> None:
    unused = set(BASE) - set(imported()) - LOADED_BY_NAME - {"deepbet"}
    assert not unused


def test_deepbet_is_declared_for_its_weights_alone() -> None:
    assert "deepbet" not in imported()
    text = (REPOSITORY / "model" / "imaging" / "brain.py").read_text(encoding="utf-8")
    assert 'distribution("deepbet")' in text


def test_every_declared_package_has_its_reason_and_no_other_has() -> None:
    declared = set(BASE) | {name for extra in EXTRAS.values() for name in extra}
    assert set(reasons()) == declared


def test_every_locked_package_is_documented() -> None:
    documented = set(reasons()) | set(re.findall(r"^\| ([a-z0-9-]+) \| [^|]+ \|$", DOCUMENT, re.MULTILINE))
    for name in ("torch", "lock", "demo", "train", "test"):
        assert set(LOCKS[name]) <= documented, name


def test_nothing_is_locked_that_nobody_needs() -> None:
    idle = re.findall(r"^\| ([a-z0-9-]+) \| nobody \|$", DOCUMENT, re.MULTILINE)
    assert set(idle) <= {"wheel"}  # setuptools builds with it


def test_the_locks_hold_every_declared_package_in_its_range() -> None:
    for extra, lock in (("", "lock"), ("demo", "demo"), ("train", "train"), ("test", "test"), ("dev", "dev")):
        wanted = EXTRAS[extra] if extra else BASE
        have = LOCKS["torch"] | LOCKS["lock"] | LOCKS[lock]
        for name, requirement in wanted.items():
            assert name in have, f"{name} is not in requirements/{lock}.txt"
            assert requirement.specifier.contains(have[name]), f"{requirement} but {have[name]} is locked"


def test_no_package_is_locked_at_two_versions() -> None:
    seen: dict[str, str] = {}
    for lock in LOCKS.values():
        for name, version in lock.items():
            assert seen.setdefault(name, version) == version, name


def test_every_lock_but_torchs_carries_hashes() -> None:
    for name in ("lock", "demo", "train", "test", "dev"):
        text = (REPOSITORY / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        assert entries
        for entry in entries:
            assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_torchvision_is_locked_for_training_alone() -> None:
    """Beside a CPU build of PyTorch only model.torchvision_hook lets it load; the node never needs it."""
    assert [name for name, lock in LOCKS.items() if "torchvision" in lock] == ["train"]
    assert str(EXTRAS["clip"]["torchvision"].specifier) == "==0.28.0"
