"""Med-K2N: any K sources to any N targets, one page, top to bottom.

B slices, K sources, N targets, P = N (K-1) pairs, D width; features at stride 4. Sources are encoded once whatever N
is; sources, targets, pairs and heads each go through in one batched call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.contrasts import CONTRASTS
from model.detail import DetailNet
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
    detail: int = 32

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
        feature: K times (B, D, h, w); detail: K times (B, C, H/2, W/2); centre: (B, K, 1, H, W).
    """

    feature: tuple[Tensor, ...]
    detail: tuple[Tensor, ...]
    centre: Tensor

    def of(self, sources: list[int]) -> Encoded:
        """Only the sources at these positions."""
        return Encoded(
            feature=tuple(self.feature[k] for k in sources),
            detail=tuple(self.detail[k] for k in sources),
            centre=self.centre[:, sources],
        )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the weight networks need of the sources, whatever the target.

    Attributes:
        pooled: (B, K, D); distance: of two sources, (B, D) mean over places; seen: of keys, and of auxiliary
            sources, what EffiWeightNet.look gives.
    """

    pooled: Tensor
    distance: dict[tuple[int, ...], Tensor]
    seen: tuple[dict[int, Tensor], dict[int, Tensor]]

    def between(self, one: int, other: int) -> Tensor:
        """(B, D) how far two sources are from each other."""
        return self.distance[min(one, other), max(one, other)]


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
        self.detail = DetailNet(config.detail, embed)
        self.source_embed = nn.Embedding(count, embed)
        self.target_embed = nn.Embedding(count, embed)
        self.modality = nn.Linear(embed, neck)
        self.site = SiteCode(len(config.sites))
        self.multiscale = MultiScaleNet(width, SITE_WIDTH, neck)
        self.preweight = PreWeightNet(width, count, embed)
        self.threshold = ThresholdNet(width, embed)
        self.effiweight = EffiWeightNet(width, embed)
        self.taskhead = TaskHeadNet(width, embed, config.detail, SITE_WIDTH)
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
        # One source after the other, so that what is read of one source later lies in one piece.
        planes = x.transpose(0, 1)
        levels = self.encoder(planes.flatten(0, 1))
        shift = self.modality(label)[:, None].expand(-1, batch, -1).flatten(0, 1)
        code = self.site(site)
        features = self.multiscale(levels, shift, code if len(code) == 1 else code.repeat(k, 1))
        return Encoded(
            # Of an exported graph, whose batch is free, a single size would be fixed.
            feature=features.split([batch] * k),
            detail=self.detail(planes, label),
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
        keys = self.keys(sources, targets) if keys is None else keys
        compared = self._compare(encoded.feature, keys)
        if len(targets) == 1 or self.training or encoded.centre.device.type != "cpu":
            return self._predict(encoded, compared, sources, targets, levels, keys, site)
        # No target reads another. One at a time its embedding folds into the weights and a smaller part of the
        # caches is needed; all at once is for training and for GPUs, which want large batches.
        return _joined(
            [
                self._predict(encoded, compared, sources, [target], levels, [key], site)
                for target, key in zip(targets, keys, strict=True)
            ]
        )

    def _compare(self, feature: tuple[Tensor, ...], keys: list[int]) -> Compared:
        """Each source once, and each with the key sources (K times (B, D, h, w)): the same for all targets."""
        with_key = {(i, key): None for key in keys for i in range(len(feature)) if i != key}
        couples = {tuple(sorted(pair)): None for pair in with_key}
        return Compared(
            pooled=torch.stack([f.mean(dim=(2, 3)) for f in feature], dim=1),
            distance={(a, b): (feature[a] - feature[b]).abs().mean(dim=(2, 3)) for a, b in couples},
            seen=self.effiweight.look(feature, {key for _, key in with_key}, {i for i, _ in with_key}),
        )

    def _predict(
        self,
        encoded: Encoded,
        compared: Compared,
        sources: list[int],
        targets: list[int],
        levels: Tensor,
        keys: list[int],
        site: Tensor,
    ) -> Prediction:
        feature, detail, centre = encoded.feature, encoded.detail, encoded.centre
        batch, k, n = centre.shape[0], len(sources), len(targets)
        code = self.site(site)
        e_target = self.target_embed.weight[targets]
        e_source = self.source_embed.weight[sources]
        gain, offset = (v[:, :, None, None, None] for v in self.level(levels, e_source, e_target, code))

        # Round A: every target from its key source alone.
        key_image = _take(centre, keys)
        alike = keys[:1] if len(set(keys)) == 1 else keys  # one detail path serves all targets with this key
        first = self.taskhead(
            _beside([feature[k] for k in keys]), _beside([detail[k] for k in alike]), key_image, key_image,
            e_target, code,
        )  # fmt: skip
        base = gain * first.images.mean(dim=2, keepdim=True) + offset
        base_errors = self.quality(base, first.shared, key_image, e_target)
        pairs = tuple((i, j) for j in range(n) for i in range(k) if i != keys[j])
        if not pairs:
            none = base.new_zeros(batch, 0)
            images = gain * first.images + offset
            below, above = first.interval()
            return Prediction(
                images=images, base=base, below=below, above=above,
                errors=self.quality(images, first.shared, key_image, e_target), base_errors=base_errors,
                w_global=none, tau=none, w_eff=base.new_zeros(batch, 0, 1, *feature[0].shape[-2:]), pairs=(),
            )  # fmt: skip

        # Round B: each auxiliary source of each target sees the key, itself and the base prediction, never another.
        aux, wanted = [i for i, _ in pairs], [j for _, j in pairs]
        label = torch.tensor([targets[j] for j in wanted], device=centre.device)
        e_i, e_j = e_source[aux], e_target[wanted]
        error = base_errors.mean(dim=2).detach()  # (B, N, 2, h, w)
        of_key = [keys[j] for j in wanted]
        pooled = compared.pooled
        difference = torch.stack(
            [compared.between(i, key) for i, key in zip(aux, of_key, strict=True)], dim=1
        )
        w_global, task, memory = self.preweight(
            pooled[:, of_key], pooled[:, aux], difference, first.pooled[:, wanted], e_i, e_j,
            error.mean(dim=(3, 4))[:, wanted], label,
        )  # fmt: skip
        history = self.history[[sources[i] for i in aux], [targets[j] for j in wanted]]
        tau, gate = self.threshold(w_global, memory, e_i, e_j, history)
        context = PairContext(task=task, memory=memory, gate=gate, w_global=w_global, tau=tau)
        w_eff = self.effiweight(context, compared.seen, error, of_key, aux, wanted, e_i, e_j)

        # Equation 8, normalised so that the representation does not drift with K: key 1, auxiliaries w_ij.
        parts = {factor: _parts(_resize(w_eff, factor), wanted, n) for factor in (1, 2, 4)}
        blends = [
            _blend(x, parts[factor], keys, pairs)
            for x, factor in ((feature, 1), (detail, 2), (centre.unbind(1), 4))
        ]
        second = self.taskhead(*blends[:2], key_image, blends[2], e_target, code)
        images = gain * second.images + offset
        below, above = second.interval()
        errors = self.quality(images, second.shared, key_image, e_target)
        return Prediction(
            images=images, base=base, below=below, above=above, errors=errors,
            base_errors=base_errors, w_global=w_global, tau=tau, w_eff=w_eff, pairs=pairs,
        )  # fmt: skip


def _joined(each: list[Prediction]) -> Prediction:
    """Predictions of one target each as one prediction."""
    pairs = tuple((i, j) for j, one in enumerate(each) for i, _ in one.pairs)
    return Prediction(
        **{
            field.name: torch.cat([getattr(one, field.name) for one in each], dim=1)
            for field in fields(Prediction)
            if field.name != "pairs"
        },
        pairs=pairs,
    )


def _take(x: Tensor, positions: list[int]) -> Tensor:
    """(B, K, ...) -> (B, len(positions), ...); a view, not a copy, where all are the same."""
    if len(set(positions)) == 1:
        only = x[:, positions[0] : positions[0] + 1]
        return only if len(positions) == 1 else only.expand(-1, len(positions), *x.shape[2:])
    return x[:, positions]


def _parts(w: Tensor, wanted: list[int], count: int) -> Tensor:
    """What each image is of its target's blend: w_ij / (1 + sum_i w_ij) for the pairs, then 1 / (1 + ...) for the keys.

    Args:
        w: (B, P, 1, h, w); wanted: the target of each pair; count: N.

    Returns:
        (B, P + N, 1, h, w).
    """
    member = F.one_hot(torch.tensor(wanted, device=w.device), count).to(w.dtype)  # (P, N)
    key = 1 / (1 + torch.einsum("bpchw,pn->bnchw", w, member))
    return torch.cat([w * key[:, wanted], key], dim=1)


def _resize(w: Tensor, factor: int) -> Tensor:
    """(B, P, 1, h, w) -> (B, P, 1, h*factor, w*factor)."""
    if factor == 1:
        return w
    up = F.interpolate(w.flatten(0, 1), scale_factor=factor, mode="bilinear", align_corners=False)
    return up.unflatten(0, w.shape[:2])


def _beside(maps: Sequence[Tensor]) -> Tensor:
    """N times (B, C, h, w) -> (B, N, C, h, w), channels last; a view, not a copy, of one."""
    if len(maps) == 1:
        return maps[0][:, None]
    return torch.stack([x.permute(0, 2, 3, 1) for x in maps], dim=1).permute(0, 1, 4, 2, 3)


def _blend(x: Sequence[Tensor], part: Tensor, keys: list[int], pairs: tuple[tuple[int, int], ...]) -> Tensor:
    """The sum of each target's sources times their parts; K (B, C, h, w), (B, P + N, 1, h, w) -> (B, N, C, h, w)."""
    out = []
    for j, key in enumerate(keys):
        total = part[:, len(pairs) + j] * x[key]
        for column, (i, jj) in enumerate(pairs):
            if jj == j:
                total = total.addcmul_(part[:, column], x[i])
        out.append(total)
    return _beside(out)
