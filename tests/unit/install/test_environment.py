"""What `doctor` says about the environment it runs in."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from medk2n_node.installation import environment
from medk2n_node.installation.checks import State
from medk2n_node.serve import command_of

REPOSITORY = Path(__file__).resolve().parents[3]
REQUIREMENTS = REPOSITORY / "requirements"


def test_pins_are_read_with_hashes_markers_and_comments() -> None:
    text = (
        "# a comment==1\n"
        "SQLAlchemy==2.1.9 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
        "importlib_resources==7.1.0 ; python_version < '3.0' \\\n    --hash=sha256:22\n"
        "typing_extensions==4.16.0 ; python_version >= '3.0' \\\n    --hash=sha256:33\n"
    )
    assert environment.pins(text) == {"sqlalchemy": "2.1.9", "typing-extensions": "4.16.0"}


def test_the_lock_travels_inside_the_package() -> None:
    pins = environment.locked(environment.BASE_LOCKS)
    assert pins == environment.pins(
        (REQUIREMENTS / "torch.txt").read_text() + (REQUIREMENTS / "lock.txt").read_text()
    )
    assert {"torch", "sam2", "pydicom", "dbos"} <= set(pins)


def test_this_environment_is_at_its_locked_versions() -> None:
    check = environment.packages(
        environment.installed(),
        environment.locked(environment.BASE_LOCKS),
        environment.locked(environment.EXTRA_LOCKS),
    )
    assert check.state is State.OK, check.found


def test_a_missing_package_is_an_error_that_names_it() -> None:
    check = environment.packages({"numpy": "2.4.6"}, {"numpy": "2.4.6", "pydicom": "3.0.2"}, {})
    assert check.state is State.ERROR
    assert check.found == "missing: pydicom"
    assert "make clean install" in check.cure


def test_another_version_is_a_warning_that_names_both() -> None:
    check = environment.packages({"numpy": "2.5.0"}, {"numpy": "2.4.6"}, {"matplotlib": "3.11.2"})
    assert check.state is State.WARNING
    assert "numpy 2.5.0 (locked: 2.4.6)" in check.found


def test_a_local_build_of_torch_counts_as_its_version() -> None:
    assert "+" not in environment.installed()["torch"]


def test_the_four_packages_are_ours_and_nothing_is_left_of_sam2s() -> None:
    for check in environment.ownership():
        assert check.state is State.OK, check.found
    assert environment.left_behind().state is State.OK


def test_a_foreign_package_training_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs = tmp_path / "training"
    theirs.mkdir()
    (theirs / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "training", raising=False)
    by_name = {check.name: check for check in environment.ownership()}
    assert by_name["package model"].state is State.OK
    assert by_name["package training"].state is State.ERROR
    assert str(theirs / "__init__.py") in by_name["package training"].found


def test_console_scripts_import_our_training_and_model(tmp_path: Path) -> None:
    """From a folder that is not the repository, as a console script would: site-packages comes first."""
    code = "import model, training; print(model.__file__); print(training.__file__)"
    command = [sys.executable, "-I", "-c", code]
    lines = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.splitlines()
    homes = [Path(line).resolve().parent for line in lines]
    assert homes == [REPOSITORY / "model", REPOSITORY / "training"]


def test_folders_of_the_users_do_not_pass_for_our_packages(tmp_path: Path) -> None:
    """`python -m` looks in the working directory first, where model/ and training/ are common names, and a folder
    dl/ breaks python-gdcm and with it pydicom."""
    for name in ("model", "training", "dl"):
        (tmp_path / name).mkdir()
    command = command_of("worker", None)
    start = command[: command.index("-m")]
    code = "import model, training, pydicom.pixels; print(model.__file__); print(training.__file__)"
    done = subprocess.run([*start, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    homes = [Path(line).resolve().parent for line in done.stdout.splitlines()]
    assert homes == [REPOSITORY / "model", REPOSITORY / "training"]


def test_no_module_of_ours_has_the_name_of_one_that_sam2_leaves_behind() -> None:
    theirs = {"train", "trainer", "optimizer", "loss_fns", "dataset", "model", "scripts", "utils"}
    ours = {path.stem for path in (REPOSITORY / "training").iterdir()}
    assert not ours & theirs


KERNELS = ["apache-tvm-ffi", "tilelang", "quack-kernels", "ninja", "einops"]
if find_spec("triton") is None:  # PyTorch's builds with CUDA bring it along
    KERNELS.append("triton")


def test_pip_check_finds_only_what_is_left_out_on_purpose() -> None:
    """Of deepbet only the weights are used, not its windows and label tools; of mamba-ssm the source is read, not
    its kernels. (torchvision, which sam2 asks for and does not need, is here for open_clip.)"""
    left_out = {
        *(f"mamba-ssm 2.3.2.post1 requires {name}, which is not installed." for name in KERNELS),
        "deepbet 1.0.2 requires connected-components-3d, which is not installed.",
        "deepbet 1.0.2 requires customtkinter, which is not installed.",
        "deepbet 1.0.2 requires fill-voids, which is not installed.",
    }
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert set(found.splitlines()) == left_out
