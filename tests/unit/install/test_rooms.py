"""Who may know what, where import-linter cannot see it: at run time, and inside functions."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "sam2", "peft", "transformers", "SimpleITK", "nilearn", "matplotlib")
# A stopwatch (perf_counter, monotonic) is allowed: it says how long, never when.
CLOCKS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "sleep"),
    ("time", "localtime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("os", "environ"),
    ("os", "getenv"),
}


def loaded(module: str) -> set[str]:
    """The top-level packages that a fresh Python holds after importing `module`."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.parametrize(
    "module", ["medk2n_node.cli.app", "medk2n_node.listener", "medk2n_node.store", "dicom_rules"]
)
def test_only_the_worker_pays_for_the_network(module: str) -> None:
    assert not loaded(module) & set(HEAVY)


def test_the_network_knows_no_dicom() -> None:
    assert not loaded("model") & {
        "pydicom",
        "pynetdicom",
        "sqlalchemy",
        "medk2n_node",
        "dicom_rules",
        "training",
    }


@pytest.mark.parametrize("package", ["dicom_rules", "model"])
def test_the_pure_packages_ask_no_clock_and_no_environment(package: str) -> None:
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                assert (name, node.attr) not in CLOCKS, (
                    f"{path.relative_to(REPOSITORY)}:{node.lineno} {name}.{node.attr}"
                )


@pytest.mark.parametrize("package", ["medk2n_node", "dicom_rules", "model", "training"])
def test_every_folder_with_code_is_a_package_with_a_docstring(package: str) -> None:
    for folder in {path.parent for path in (REPOSITORY / package).rglob("*.py")}:
        if "versions" in folder.parts or "migrations" in folder.parts:  # alembic loads these by path
            continue
        door = folder / "__init__.py"
        assert door.is_file(), f"{folder.relative_to(REPOSITORY)} has no __init__.py"
        assert ast.get_docstring(ast.parse(door.read_text(encoding="utf-8"))), (
            f"{door.relative_to(REPOSITORY)}"
        )


def test_every_module_can_be_imported() -> None:
    """In an environment that holds only what is locked, a package that somebody forgot to declare shows here."""
    names = []
    for package in ("medk2n_node", "dicom_rules", "model", "training"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            if "migrations" not in parts and parts[-1] != "__main__":
                names.append(".".join(parts).removesuffix(".__init__"))
    code = f"import importlib; [importlib.import_module(name) for name in {names}]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_module_has_the_future_import_and_a_docstring() -> None:
    for package in ("medk2n_node", "dicom_rules", "model", "training"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            place = path.relative_to(REPOSITORY)
            assert ast.get_docstring(tree), f"{place} has no docstring"
            code = [node for node in tree.body if not isinstance(node, ast.Expr)]
            if code:
                first = code[0]
                assert isinstance(first, ast.ImportFrom) and first.module == "__future__", f"{place}"
