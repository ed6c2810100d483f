"""torchvision loads beside this PyTorch once `model` was imported, and `model` alone loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

HEAVY = (
    "torchvision",
    "open_clip",
    "timm",
    "peft",
    "transformers",
    "mamba_ssm",
    "triton",
    "monai",
    "matplotlib",
)


def _fresh(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_the_network_loads_none_of_the_training_packages() -> None:
    run = _fresh(
        f"import sys, model, model.encoder, model.identity; print([n for n in {HEAVY} if n in sys.modules])"
    )
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


def test_torchvision_and_open_clip_load_after_the_network() -> None:
    run = _fresh(
        "import sys, model, torchvision, torch\n"
        "from open_clip.model import CustomTextCLIP\n"
        "from model.torchvision_hook import TorchvisionHook\n"
        "assert not any(isinstance(f, TorchvisionHook) for f in sys.meta_path), 'the hook takes itself away'\n"
        "print(torchvision.__version__.partition('+')[0], bool(torch.ops.torchvision.nms))"
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["0.28.0", "True"]


def test_the_hook_is_put_in_once_and_declares_both_operators_only_where_torchvision_cannot() -> None:
    run = _fresh(
        "import sys, model\n"
        "from model import torchvision_hook as h\n"
        "h.install_torchvision_hook()\n"
        "print(sum(isinstance(f, h.TorchvisionHook) for f in sys.meta_path), len(h._declared))\n"
        "own = h._compiled_part_loads()\n"
        "import torchvision\n"
        "h.install_torchvision_hook()\n"
        "print(sum(isinstance(f, h.TorchvisionHook) for f in sys.meta_path), len(h._declared), own)\n"
        "import torch\n"
        "print(torch.ops.torchvision.nms.default._schema)"
    )
    assert run.returncode == 0, run.stderr
    before, after, schema = run.stdout.splitlines()
    assert before == "1 0"
    assert after in ("0 1 False", "0 0 True")
    assert schema == "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@pytest.mark.skipif(
    torch.version.cuda is not None, reason="this PyTorch has CUDA: torchvision's wheel fits it"
)
def test_without_the_hook_torchvision_does_not_load_here() -> None:
    """When this test fails, the versions fit each other and the hook can go."""
    run = _fresh("import torchvision")
    assert "torchvision::nms does not exist" in run.stderr
