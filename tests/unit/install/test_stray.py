"""sam2 leaves a top-level package `training` behind; the install step clears it away and nothing else."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from medk2n_node.installation import stray

SCRIPT = Path(stray.__file__)


def row(name: str, content: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """A site-packages as sam2 1.1.0 leaves it: its package, the stray one, byte code, the records."""
    contents = {
        "sam2/__init__.py": "# sam2\n",
        "training/__init__.py": "# Copyright (c) Meta Platforms\n",
        "training/trainer.py": "import hydra\n",
        "training/model/__init__.py": "",
        "training/model/sam2.py": "class SAM2Train: ...\n",
        "sam2-1.1.0.dist-info/top_level.txt": "sam2\ntraining\n",
    }
    rows = []
    for name, content in contents.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        rows.append(row(name, content))
    cache = tmp_path / "training" / "__pycache__"
    cache.mkdir()
    (cache / "trainer.cpython-311.pyc").write_bytes(b"code")
    (cache / "__init__.cpython-311.pyc").write_bytes(b"code")
    rows += [
        "training/__pycache__/trainer.cpython-311.pyc,,",
        "training/__pycache__/__init__.cpython-311.pyc,,",
        "sam2-1.1.0.dist-info/RECORD,,",
    ]
    (tmp_path / "sam2-1.1.0.dist-info" / "RECORD").write_text("\n".join(rows) + "\n")
    return tmp_path


def record(site_packages: Path) -> str:
    return (site_packages / "sam2-1.1.0.dist-info" / "RECORD").read_text()


def test_the_stray_package_goes_and_sam2_stays(site_packages: Path) -> None:
    removed = stray.remove(site_packages)
    assert removed == (
        "training/__init__.py",
        "training/model/__init__.py",
        "training/model/sam2.py",
        "training/trainer.py",
    )
    assert not (site_packages / "training").exists()
    assert (site_packages / "sam2" / "__init__.py").is_file()


def test_running_it_again_changes_nothing(site_packages: Path) -> None:
    stray.remove(site_packages)
    before = record(site_packages)
    assert stray.remove(site_packages) == ()
    assert record(site_packages) == before


def test_uninstalling_sam2_can_no_longer_reach_a_package_called_training(site_packages: Path) -> None:
    stray.remove(site_packages)
    assert "training/" not in record(site_packages)
    top_level = site_packages / "sam2-1.1.0.dist-info" / "top_level.txt"
    assert top_level.read_text() == "sam2\n"
    assert row("sam2-1.1.0.dist-info/top_level.txt", "sam2\n") in record(site_packages)


def test_our_files_survive_when_our_wheel_was_installed_over_sam2(site_packages: Path) -> None:
    ours = {"training/__init__.py": '"""Ours."""\n', "training/loop.py": "steps = 1\n"}
    for name, content in ours.items():
        (site_packages / name).write_text(content)
    found = stray.find(site_packages)
    assert found.foreign == ("training/__init__.py",)
    stray.remove(site_packages)
    for name, content in ours.items():
        assert (site_packages / name).read_text() == content
    assert not (site_packages / "training" / "trainer.py").exists()
    assert stray.find(site_packages) == stray.Stray(theirs=(), foreign=())


def test_a_file_that_somebody_changed_is_kept(site_packages: Path) -> None:
    (site_packages / "training" / "trainer.py").write_text("import hydra  # patched here\n")
    assert "training/trainer.py" not in stray.remove(site_packages)
    assert (site_packages / "training" / "trainer.py").is_file()


def test_without_sam2_there_is_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").write_text("")
    assert stray.remove(tmp_path) == ()
    assert (tmp_path / "training" / "__init__.py").is_file()


def test_the_install_step_runs_it_by_its_path_with_nothing_installed(
    site_packages: Path, tmp_path: Path
) -> None:
    def run() -> str:
        command = [sys.executable, "-I", "-S", str(SCRIPT), str(site_packages)]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert run() == "removed sam2's stray package 'training' (4 files)\n"
    assert run() == "nothing to clear away\n"
