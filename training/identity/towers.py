"""The towers, built by open_clip: the one that a bundle carries, the judge, and a local folder of somebody else's.

open_clip needs torchvision; `import model` has put the hook in place that lets both load beside a PyTorch without
CUDA. Both are imported inside functions: only a training of towers, and the judge, pay for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from model import ModelError
from model.identity import IdentityConfig

#: The judge: another build, of timm's blocks (a small ByobNet, untrained) with average pooling instead of attention.
JUDGE: dict[str, Any] = {
    "timm_model_name": "test_byobnet",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
    "image_size": 64,
}
_TEXT: dict[str, Any] = {"context_length": 64, "width": 64, "heads": 4, "layers": 2}


def vision_settings(config: IdentityConfig) -> dict[str, Any]:
    """The arguments of open_clip's CLIPVisionCfg for the tower that a bundle carries."""
    return {
        "layers": config.layers,
        "width": config.width,
        "head_width": config.head_width,
        "image_size": config.image_size,
    }


def build_clip(vision: dict[str, Any], embed_dim: int, seed: int) -> nn.Module:
    """An untrained CustomTextCLIP with this vision tower and a small text tower."""
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

    torch.manual_seed(seed)
    return CustomTextCLIP(
        embed_dim=embed_dim, vision_cfg=CLIPVisionCfg(**vision), text_cfg=CLIPTextCfg(**_TEXT)
    )


def tokenise(texts: list[str]) -> torch.Tensor:
    """(T, context) token numbers by CLIP's own vocabulary, which travels in open_clip's wheel."""
    from open_clip.tokenizer import SimpleTokenizer

    return torch.as_tensor(SimpleTokenizer(context_length=_TEXT["context_length"])(texts))


def open_local_clip(folder: Path) -> tuple[nn.Module, Any]:
    """A vision-language model from a local folder in open_clip's layout (such as BiomedCLIP's), and its tokeniser.

    Args:
        folder: with `open_clip_config.json` and the weights (`open_clip_model.safetensors` or `.bin`), and the
            tokeniser's files where the configuration names a Hugging Face text tower.

    Raises:
        ModelError: missing: the folder is not in that layout. Nothing is downloaded.
    """
    wanted = ("open_clip_config.json",)
    weights = [*folder.glob("open_clip_*.safetensors"), *folder.glob("open_clip_*.bin")]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if not weights:
        missing.append("open_clip_model.safetensors")
    if missing:
        raise ModelError(
            code="missing",
            subject=str(folder),
            reason=f"it holds no {' and no '.join(missing)}",
            cure="Copy the whole folder of the published model there; nothing is downloaded.",
        )
    import open_clip

    name = f"local-dir:{folder}"
    clip = open_clip.create_model(name)
    return clip, open_clip.get_tokenizer(name)
