"""Our wheel, built and installed into a fresh environment, carries the whole node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("medk2n_node", "dicom_rules", "model", "training")

pytestmark = pytest.mark.slow


def run(command: list[str | Path], cwd: Path, expect: int = 0) -> str:
    """Run without what the developer's shell may hold; gives standard output."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MEDK2N"))
    }
    environment["MEDK2N__NODE__PORT"] = "0"  # whatever runs on this machine, no port is judged
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expect, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked() -> list[str]:
    """The files of the repository as git knows them, new ones included, ignored ones not."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [name for name in names.split("\0") if name and (REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that no build folder is left in the repository."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, source / name, follow_symlinks=False)
    target = tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    run([*pip, "--no-build-isolation", "--no-index", "--wheel-dir", target, source], cwd=target)
    [built] = target.glob("medk2n-*.whl")
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with our wheel installed; the foreign packages are lent by the present one.

    Ours goes in first, by itself. The other site-packages follow by a path line, which does not run their .pth files:
    the editable installation that the tests run from is not seen.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", folder], cwd=folder.parent)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], cwd=folder.parent)
    [site_packages] = folder.glob("lib/python*/site-packages")
    (site_packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == set(PACKAGES)


def test_every_file_of_the_packages_travels_byte_for_byte(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    expected = [name for name in tracked() if name.partition("/")[0] in PACKAGES]
    assert len(expected) > 50
    missing = [name for name in expected if name not in held]
    assert not missing
    different = [name for name in expected if held[name] != (REPOSITORY / name).read_bytes()]
    assert not different


def test_the_wheel_carries_licence_readme_and_entry_point(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
        folder = metadata.rpartition("/")[0]
        assert "Apache License" in archive.read(f"{folder}/licenses/LICENSE").decode()
        assert "medk2n = medk2n_node.cli:main" in archive.read(f"{folder}/entry_points.txt").decode()
    assert "License-Expression: Apache-2.0" in text
    assert "# medk2n" in text


def test_the_installed_packages_are_the_wheels(fresh: Path, tmp_path: Path) -> None:
    code = f"import {', '.join(PACKAGES)}; print(*(m.__file__ for m in ({', '.join(PACKAGES)})), sep='\\n')"
    homes = [Path(line) for line in run([fresh / "bin" / "python", "-c", code], cwd=tmp_path).splitlines()]
    for home in homes:
        assert home.is_relative_to(fresh), home


def test_the_installed_command_lists_its_commands(fresh: Path, tmp_path: Path) -> None:
    help_text = run([fresh / "bin" / "medk2n", "--help"], cwd=tmp_path)
    for command in (
        "serve",
        "demo",
        "send",
        "classify",
        "plan",
        "synthesize",
        "studies",
        "echo",
        "doctor",
        "config",
    ):
        assert command in help_text


def test_doctor_is_content_with_the_installed_wheel(fresh: Path, tmp_path: Path) -> None:
    report: dict[str, Any] = json.loads(run([fresh / "bin" / "medk2n", "doctor", "--json"], cwd=tmp_path))
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert report["ok"] is True
    for package in PACKAGES:
        assert states[f"package {package}"] == "ok"
    assert states["weights"] == "ok"
    assert states["packages"] == "ok"


def test_the_installed_node_makes_its_database(fresh: Path, tmp_path: Path) -> None:
    """The migrations travel too."""
    answer = json.loads(run([fresh / "bin" / "medk2n", "studies", "list", "--json"], cwd=tmp_path))
    assert answer["studies"] == []
