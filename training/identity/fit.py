"""Fit a tower: every slice against the sentences of all contrasts (M-12), both towers learn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.identity import Identity, IdentityConfig, standardise
from training.identity.descriptions import DESCRIPTIONS
from training.identity.slices import SliceSampler
from training.identity.towers import build_clip, tokenise


@dataclass(frozen=True, kw_only=True)
class IdentityRecipe:
    """Everything that decides what a fit does; stored with the weights it makes."""

    steps: int = 1500
    batch: int = 40
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 100
    smoothing: float = 0.05
    average: float = 0.995
    seed: int = 20261121

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def text_features(
    clip: nn.Module, contrasts: Sequence[str], sentences: Mapping[str, Sequence[str]]
) -> Tensor:
    """(C, E) unit vectors: the mean direction of each contrast's sentences."""
    rows = []
    for name in contrasts:
        features = F.normalize(clip.encode_text(tokenise(list(sentences[name]))), dim=-1)  # type: ignore[operator]
        rows.append(F.normalize(features.mean(dim=0), dim=-1))
    return torch.stack(rows)


def fit(
    vision: Mapping[str, object],
    config: IdentityConfig,
    sampler: SliceSampler,
    recipe: IdentityRecipe,
    *,
    report: Callable[[str], None],
    sentences: Mapping[str, Sequence[str]] = DESCRIPTIONS,
) -> nn.Module:
    """A trained CustomTextCLIP; the same seed and thread count give the same weights.

    Args:
        vision: settings of the vision tower (`vision_settings` or `JUDGE`).
    """
    clip = build_clip(dict(vision), config.embed_dim, recipe.seed).train()
    tokens = {name: tokenise(list(sentences[name])) for name in config.contrasts}
    decay = [p for n, p in clip.named_parameters() if p.ndim > 1 and "embedding" not in n]
    plain = [p for n, p in clip.named_parameters() if not (p.ndim > 1 and "embedding" not in n)]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )
    average = {n: p.detach().clone() for n, p in clip.named_parameters()}
    began, running = time.monotonic(), [math.log(len(config.contrasts)), 0.0]
    for step in range(recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        images, labels = sampler.draw(recipe.batch, rng)
        said = torch.stack([t[int(rng.integers(len(t)))] for t in tokens.values()])
        texts = F.normalize(clip.encode_text(said), dim=-1)  # type: ignore[operator]
        shown = F.normalize(clip.visual(standardise(images, config.image_size)), dim=-1)  # type: ignore[operator]
        logits = clip.logit_scale.clamp(max=math.log(50.0)).exp() * shown @ texts.T  # type: ignore[operator]
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)
        progress = max(0.0, (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup))
        rate = min(1.0, (step + 1) / recipe.warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        momentum = min(recipe.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in clip.named_parameters():
                average[name].lerp_(p, 1 - momentum)
        right = float((logits.argmax(dim=1) == labels).float().mean())
        running = [0.98 * a + 0.02 * b for a, b in zip(running, (float(loss.detach()), right), strict=True)]
        if step % 100 == 0:
            report(
                f"step {step} {time.monotonic() - began:.0f} s loss {running[0]:.3f} right {running[1]:.3f}"
            )
    clip.load_state_dict(average, strict=False)  # parameters only: batch statistics follow the last steps
    return clip.eval()


@torch.no_grad()
def freeze(
    clip: nn.Module,
    config: IdentityConfig,
    *,
    own_tower: bool,
    sentences: Mapping[str, Sequence[str]] = DESCRIPTIONS,
) -> Identity:
    """The trained pair as an `Identity`: texts become a buffer; `own_tower`: the vision half without open_clip."""
    clip.eval()
    visual = clip.visual
    if not isinstance(visual, nn.Module):
        raise TypeError(f"{type(clip).__name__} has no vision tower")
    identity = Identity(config, None if own_tower else visual)
    if own_tower:
        identity.visual.load_state_dict(visual.state_dict())
    identity.text.copy_(text_features(clip, config.contrasts, sentences))
    identity.logit_scale.copy_(clip.logit_scale.clamp(max=math.log(50.0)).exp())  # type: ignore[operator]
    return identity.freeze()
