"""torchvision beside a PyTorch without CUDA: declare the two operators that its import asks for.

The wheels on the package index are built against CUDA. Beside another build of PyTorch their compiled part does not
load, the operators `nms` and `qnms` stay undeclared, and `import torchvision` ends with "operator torchvision::nms
does not exist"; with it die open_clip, and peft and torchmetrics where torchvision is merely installed. Nothing here
calls these operators; they only have to exist before torchvision looks for them.

The hook is a finder that waits for the first `import torchvision` and then takes itself away: until that happens it
costs one comparison an import.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

import torch

OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# A library's declarations last as long as the object that made them.
_declared: list[torch.library.Library] = []


class TorchvisionHook(MetaPathFinder):
    """Declares the operators just before torchvision is found by somebody else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Never finds anything itself."""
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            if torch.version.cuda is None and not _compiled_part_loads():
                library = torch.library.Library("torchvision", "DEF")
                for name in OPERATORS:
                    library.define(name + _SCHEMA)
                _declared.append(library)
        return None


def _compiled_part_loads() -> bool:
    """Whether torchvision brings the operators itself (its builds for CPU do): declared twice, they are an error."""
    spec = PathFinder.find_spec("torchvision")
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    for library in (file for folder in folders for file in Path(folder).glob("_C*.*")):
        try:
            torch.ops.load_library(str(library))
        except OSError:  # how PyTorch reports a shared library whose own needs are missing
            continue
        return True
    return False


def install_torchvision_hook() -> None:
    """Put the hook first among the finders, once, unless torchvision is loaded already."""
    if "torchvision" not in sys.modules and not any(isinstance(f, TorchvisionHook) for f in sys.meta_path):
        sys.meta_path.insert(0, TorchvisionHook())
