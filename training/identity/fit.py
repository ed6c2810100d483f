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
    """Everything that decides what a fit does; stored with the weights it makes.

    `pool` slices are drawn and distorted once and shown again in other positions: drawing costs as much as learning.
    """

    steps: int = 3000
    batch: int = 32
    pool: int = 6000
    text_steps: int = 150
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup: int = 60
    smoothing: float = 0.05
    average: float = 0.995
    seed: int = 20261121

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def text_features(
    clip: nn.Module,
    contrasts: Sequence[str],
    sentences: Mapping[str, Sequence[str]],
    tokeniser: Callable[[list[str]], Tensor] = tokenise,
) -> Tensor:
    """(C, E) unit vectors: the mean direction of each contrast's sentences."""
    rows = []
    for name in contrasts:
        features = F.normalize(clip.encode_text(tokeniser(list(sentences[name]))), dim=-1)  # type: ignore[operator]
        rows.append(F.normalize(features.mean(dim=0), dim=-1))
    return torch.stack(rows)


def separate_texts(clip: nn.Module, tokens: Mapping[str, Tensor], recipe: IdentityRecipe) -> float:
    """Teach the text tower first that sentences of one contrast belong together and others apart; gives the last loss.

    Untrained, it maps all sentences to nearly one point, and slices have nothing to be drawn to for hundreds of steps.
    """
    every = torch.cat(list(tokens.values()))
    owner = torch.cat([torch.full((len(t),), k) for k, t in enumerate(tokens.values())])
    same = (owner[:, None] == owner[None]).float()
    optimizer = torch.optim.AdamW(clip.text.parameters(), lr=recipe.learning_rate)  # type: ignore[union-attr]
    loss = torch.zeros(())
    for _ in range(recipe.text_steps):
        t = F.normalize(clip.encode_text(every), dim=-1)  # type: ignore[operator]
        # Other contrasts at right angles, not opposite: T1 and T1C are closer to each other than to the rest.
        loss = (t @ t.T - same).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def draw_pool(sampler: SliceSampler, count: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """(count, 1, size, size) standardised slices in half precision and their labels."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for start in range(0, count, 60):
        x, label = sampler.draw(min(60, count - start), rng)
        images.append(standardise(x, size)[:, :1].half())
        labels.append(label)
    return torch.cat(images), torch.cat(labels)


def fit(
    vision: Mapping[str, object],
    config: IdentityConfig,
    pool: tuple[Tensor, Tensor],
    recipe: IdentityRecipe,
    *,
    report: Callable[[str], None],
    sentences: Mapping[str, Sequence[str]] = DESCRIPTIONS,
) -> nn.Module:
    """A trained CustomTextCLIP; the same seed and thread count give the same weights.

    First the text tower learns to tell the sentences apart and is locked (as one of the towers is in LiT,
    arXiv 2111.07991), then the vision tower learns to meet it.

    Args:
        vision: settings of the vision tower (`vision_settings` or `JUDGE`).
        pool: of `draw_pool`.
    """
    clip = build_clip(dict(vision), config.embed_dim, recipe.seed).train()
    tokens = {name: tokenise(list(sentences[name])) for name in config.contrasts}
    report(f"sentences apart: {separate_texts(clip, tokens, recipe):.4f}")
    with torch.no_grad():
        texts = [F.normalize(clip.encode_text(t), dim=-1) for t in tokens.values()]  # type: ignore[operator]
    visual, scale = clip.visual, clip.logit_scale
    if not isinstance(visual, nn.Module) or not isinstance(scale, nn.Parameter):
        raise TypeError(f"{type(clip).__name__} has no vision tower with a logit scale")
    named = [*visual.named_parameters(), ("logit_scale", scale)]
    decay = [p for n, p in named if p.ndim > 1 and "embedding" not in n]
    plain = [p for n, p in named if not (p.ndim > 1 and "embedding" not in n)]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )
    average = [p.detach().clone() for _, p in named]
    began, running = time.monotonic(), [math.log(len(texts)), 0.0]
    for step in range(recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        chosen = torch.from_numpy(rng.integers(len(pool[1]), size=recipe.batch))
        images, labels = pool[0][chosen].float(), pool[1][chosen]
        if rng.random() < 0.5:
            images = images.flip(-1)
        images = images.roll((int(rng.integers(-6, 7)), int(rng.integers(-6, 7))), dims=(-2, -1))
        said = torch.stack([t[int(rng.integers(len(t)))] for t in texts])
        shown = F.normalize(visual(images.expand(-1, 3, -1, -1)), dim=-1)
        logits = scale.clamp(max=math.log(50.0)).exp() * shown @ said.T
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)
        progress = max(0.0, (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup))
        rate = min(1.0, (step + 1) / recipe.warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        optimizer.step()
        momentum = min(recipe.average, (1 + step) / (10 + step))
        right = float((logits.argmax(dim=1) == labels).float().mean())
        share = max(0.02, 1 / (step + 1))
        running = [
            (1 - share) * a + share * b for a, b in zip(running, (float(loss.detach()), right), strict=True)
        ]
        with torch.no_grad():
            for mean, (_, p) in zip(average, named, strict=True):
                mean.lerp_(p, 1 - momentum)
        if step % 200 == 0:
            report(
                f"step {step} {time.monotonic() - began:.0f} s loss {running[0]:.3f} right {running[1]:.3f}"
            )
    with torch.no_grad():  # batch statistics follow the last steps, parameters the average of many
        for mean, (_, p) in zip(average, named, strict=True):
            p.copy_(mean)
    return clip.eval()


@torch.no_grad()
def freeze(
    clip: nn.Module,
    config: IdentityConfig,
    *,
    own_tower: bool,
    sentences: Mapping[str, Sequence[str]] = DESCRIPTIONS,
    tokeniser: Callable[[list[str]], Tensor] = tokenise,
) -> Identity:
    """The trained pair as an `Identity`: texts become a buffer; `own_tower`: the vision half without open_clip."""
    clip.eval()
    visual = clip.visual
    if not isinstance(visual, nn.Module):
        raise TypeError(f"{type(clip).__name__} has no vision tower")
    identity = Identity(config, None if own_tower else visual)
    if own_tower:
        identity.visual.load_state_dict(visual.state_dict())
    identity.text.copy_(text_features(clip, config.contrasts, sentences, tokeniser))
    identity.logit_scale.copy_(clip.logit_scale.clamp(max=math.log(50.0)).exp())  # type: ignore[operator]
    return identity.freeze()
