"""Med-K2N: any K sources to any N targets, one page, top to bottom.

B slices, K sources, N targets, P = N (K-1) pairs, D width; features at stride 4. Sources are encoded once whatever N
is; sources, targets, pairs and heads each go through in one batched call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.contrasts import CONTRASTS
from model.encoder import ENCODERS, ImageEncoder
from model.fusion import EffiWeightNet, PairContext, PreWeightNet, ThresholdNet
from model.fusion.weights import HISTORY
from model.heads import LevelNet, QualityFeedback, TaskHeadNet
from model.personal.pfm import SITE_WIDTH, UNKNOWN, SiteCode
from model.scan import MultiScaleNet


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The architecture, as stored in a bundle. `sites` are names; number 0 is the unknown site.

    `sam2_checkpoint`: sha256 of the official weights that the encoder began with (model.encoder.load_sam2_checkpoint).
    """

    encoder: str = "nano"
    sam2_checkpoint: str | None = None
    contrasts: tuple[str, ...] = CONTRASTS
    sites: tuple[str, ...] = (UNKNOWN,)
    embed: int = 32
    fine: int = 12
    half: int = 20

    def to_json(self) -> dict[str, object]:
        """Plain values for the bundle's file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """The architecture that `to_json` wrote."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one forward pass gives for B slices, N targets, J = 3 heads.

    Attributes:
        images: (B, N, 3, H, W) candidates after fusion; base: (B, N, 1, H, W) their mean from the key source alone.
        below, above: (B, N, H, W) distance to the lower and upper quantile.
        errors: (B, N, 3, 2, h, w), base_errors: (B, N, 1, 2, h, w) expected error of each (QualityFeedback).
        w_global, tau: (B, P); w_eff: (B, P, 1, h, w); pairs: the (source, target) positions of the P columns.
    """

    images: Tensor
    base: Tensor
    below: Tensor
    above: Tensor
    errors: Tensor
    base_errors: Tensor
    w_global: Tensor
    tau: Tensor
    w_eff: Tensor
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """K sources of B slices, encoded once for any number of targets.

    Attributes:
        feature: (B, K, D, h, w); fine: (B, K, C1, H, W); half: (B, K, C2, H/2, W/2); centre: (B, K, 1, H, W).
    """

    feature: Tensor
    fine: Tensor
    half: Tensor
    centre: Tensor

    def of(self, sources: list[int]) -> Encoded:
        """Only the sources at these positions."""
        return Encoded(
            feature=self.feature[:, sources],
            fine=self.fine[:, sources],
            half=self.half[:, sources],
            centre=self.centre[:, sources],
        )


class MedK2N(nn.Module):
    """The network. `sources` and `targets` are positions in `config.contrasts`, `site` in `config.sites`."""

    history: Tensor
    key_score: Tensor

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        encoder = ENCODERS[config.encoder]
        neck, width, embed, count = encoder.width, encoder.features, config.embed, len(config.contrasts)
        self.encoder = ImageEncoder(encoder, sam2_input=config.sam2_checkpoint is not None)
        self.detail_fine = nn.Sequential(nn.Conv2d(3, config.fine, 3, padding=1), nn.GELU())
        self.detail_half = nn.Sequential(
            nn.Conv2d(config.fine, config.half, 3, stride=2, padding=1), nn.GELU()
        )
        self.source_embed = nn.Embedding(count, embed)
        self.target_embed = nn.Embedding(count, embed)
        self.modality = nn.Linear(embed, neck)
        self.detail_modality = nn.Linear(embed, config.fine)
        self.site = SiteCode(len(config.sites))
        self.multiscale = MultiScaleNet(width, SITE_WIDTH, neck)
        self.preweight = PreWeightNet(width, count, embed)
        self.threshold = ThresholdNet(width, embed)
        self.effiweight = EffiWeightNet(width, embed)
        self.taskhead = TaskHeadNet(width, embed, config.fine, config.half, SITE_WIDTH)
        self.level = LevelNet(embed, site=SITE_WIDTH)
        self.quality = QualityFeedback(width, embed)
        # Performance history p_ij and single-source scores P[i, j]: measured in training, frozen at inference.
        self.register_buffer("history", torch.zeros(count, count, HISTORY))
        self.register_buffer("key_score", torch.zeros(count, count))

    def keys(self, sources: list[int], targets: list[int]) -> list[int]:
        """Position (in `sources`) of the key source of each target: the best single source, ties in table order."""
        return [
            max(range(len(sources)), key=lambda k: (float(self.key_score[sources[k], j]), -k))
            for j in targets
        ]

    def encode(self, x: Tensor, sources: list[int], site: Tensor) -> Encoded:
        """Slices (B, K, 3, H, W) of sites (B,) or (1,) -> what every target is made from."""
        batch, k = x.shape[:2]
        label = self.source_embed.weight[sources]  # (K, E)
        images = x.flatten(0, 1)
        levels = self.encoder(images)
        shift = self.modality(label).repeat(batch, 1)
        code = self.site(site)
        features = self.multiscale(
            levels, shift, code if len(code) == 1 else code.repeat_interleave(k, dim=0)
        )
        fine = self.detail_fine(images) + self.detail_modality(label).repeat(batch, 1)[:, :, None, None]
        half = self.detail_half(fine)
        shape = (batch, k)
        return Encoded(
            feature=features.unflatten(0, shape),
            fine=fine.unflatten(0, shape),
            half=half.unflatten(0, shape),
            centre=x[:, :, 1:2],
        )

    def forward(
        self,
        x: Tensor,
        sources: list[int],
        targets: list[int],
        levels: Tensor,
        keys: list[int] | None = None,
        site: Tensor | None = None,
    ) -> Prediction:
        """Synthesise every target from all sources.

        Args:
            x: (B, K, 3, H, W) slices z-1, z, z+1 of each source, normalised; H, W multiples of 32.
            sources, targets: K and N contrast labels, disjoint.
            levels: (B, K, LEVEL_FEATURES) histogram of each source's volume.
            keys: position in `sources` of each target's key; default by `key_score`.
            site: (B,) site numbers, or (1,) for all slices; default 0, the unknown site.
        """
        site = torch.zeros(1, dtype=torch.long, device=x.device) if site is None else site
        return self.fuse(self.encode(x, sources, site), sources, targets, levels, keys, site)

    def fuse(
        self,
        encoded: Encoded,
        sources: list[int],
        targets: list[int],
        levels: Tensor,
        keys: list[int] | None,
        site: Tensor,
    ) -> Prediction:
        """The targets from encoded sources; arguments as in `forward`."""
        feature, fine, half, centre = encoded.feature, encoded.fine, encoded.half, encoded.centre
        batch, k, n = feature.shape[0], len(sources), len(targets)
        keys = self.keys(sources, targets) if keys is None else keys
        code = self.site(site)
        e_target = self.target_embed.weight[targets]
        e_source = self.source_embed.weight[sources]
        gain, offset = (v[:, :, None, None, None] for v in self.level(levels, e_source, e_target, code))

        # Round A: every target from its key source alone.
        key_feature, key_image = feature[:, keys], centre[:, keys]
        first = self.taskhead(key_feature, fine[:, keys], half[:, keys], key_image, key_image, e_target, code)
        base = gain * first.images.mean(dim=2, keepdim=True) + offset
        base_errors = self.quality(base, first.shared, key_image, e_target)
        pairs = tuple((i, j) for j in range(n) for i in range(k) if i != keys[j])
        if not pairs:
            none = feature.new_zeros(batch, 0)
            images = gain * first.images + offset
            return Prediction(
                images=images, base=base, below=first.below, above=first.above,
                errors=self.quality(images, first.shared, key_image, e_target), base_errors=base_errors,
                w_global=none, tau=none, w_eff=feature.new_zeros(batch, 0, 1, *feature.shape[-2:]), pairs=(),
            )  # fmt: skip

        # Round B: each auxiliary source of each target sees the key, itself and the base prediction, never another.
        aux, wanted = [i for i, _ in pairs], [j for _, j in pairs]
        label = torch.tensor([targets[j] for j in wanted], device=feature.device)
        e_i, e_j = e_source[aux], e_target[wanted]
        pooled = feature.mean(dim=(3, 4))  # (B, K, D)
        error = base_errors.mean(dim=2).detach()  # (B, N, 2, h, w)
        difference = (key_feature[:, wanted] - feature[:, aux]).abs().mean(dim=(3, 4))
        w_global, task, memory = self.preweight(
            pooled[:, [keys[j] for j in wanted]], pooled[:, aux], difference, first.pooled[:, wanted], e_i, e_j,
            error.mean(dim=(3, 4))[:, wanted], label,
        )  # fmt: skip
        history = self.history[[sources[i] for i in aux], [targets[j] for j in wanted]]
        tau, gate = self.threshold(w_global, memory, e_i, e_j, history)
        context = PairContext(task=task, memory=memory, gate=gate, w_global=w_global, tau=tau)
        w_eff = self.effiweight(context, key_feature[:, wanted], feature[:, aux], error[:, wanted], e_i, e_j)

        # Equation 8, normalised so that the representation does not drift with K: key 1, auxiliaries w_ij.
        member = F.one_hot(torch.tensor(wanted, device=feature.device), n).to(feature.dtype)  # (P, N)
        second = self.taskhead(
            _blend(key_feature, feature[:, aux], w_eff, member),
            _blend(fine[:, keys], fine[:, aux], _resize(w_eff, 4), member),
            _blend(half[:, keys], half[:, aux], _resize(w_eff, 2), member),
            key_image,
            _blend(key_image, centre[:, aux], _resize(w_eff, 4), member),
            e_target,
            code,
        )
        images = gain * second.images + offset
        errors = self.quality(images, second.shared, key_image, e_target)
        return Prediction(
            images=images, base=base, below=second.below, above=second.above, errors=errors,
            base_errors=base_errors, w_global=w_global, tau=tau, w_eff=w_eff, pairs=pairs,
        )  # fmt: skip


def _resize(w: Tensor, factor: int) -> Tensor:
    """(B, P, 1, h, w) -> (B, P, 1, h*factor, w*factor)."""
    up = F.interpolate(w.flatten(0, 1), scale_factor=factor, mode="bilinear", align_corners=False)
    return up.unflatten(0, w.shape[:2])


def _blend(key: Tensor, aux: Tensor, w: Tensor, member: Tensor) -> Tensor:
    """(key + sum_i w_i aux_i) / (1 + sum_i w_i) for each target.

    Args:
        key: (B, N, C, h, w); aux: (B, P, C, h, w); w: (B, P, 1, h, w); member: (P, N) which pair is whose.
    """
    if member.shape[1] == 1:
        return (key + (w * aux).sum(dim=1, keepdim=True)) / (1 + w.sum(dim=1, keepdim=True))
    total = torch.einsum("bpchw,pn->bnchw", w * aux, member)
    weight = torch.einsum("bpchw,pn->bnchw", w, member)
    return (key + total) / (1 + weight)
