"""The network over a volume: tiles of slices, the closed loop, the head that is taken, what each source changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model.bundle import Bundle
from model.heads.quality import volume_score
from model.imaging.image import FloatArray
from model.tiles import tiling

#: Expected error by which the fused image must not exceed the key-only image (closed loop, section 2.5). The gates turn
#: a bad source down before it; small differences that QualityFeedback expects are not worth giving sources up: a margin
#: of 0.005 cost 1 dB on a row.
LOOP_MARGIN = 0.03


@dataclass(frozen=True, kw_only=True)
class Stack:
    """K aligned, normalised sources and what is known of them.

    Attributes:
        arrays: contrast -> (S, H, W), 1.0 = 99.5th percentile inside the brain.
        levels: (K, LEVEL_FEATURES) histograms, in the order of `arrays`.
        head, brain: (S, H, W); slices without head are left out, the work is cropped to its box.
        thick: neighbouring slices are too far away to be read.
        site: number of the site in the bundle, 0 = unknown.
    """

    arrays: Mapping[str, FloatArray]
    levels: Tensor
    head: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]
    thick: bool
    site: int = 0


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What the network says of a whole volume, N targets, normalised.

    Attributes:
        image, half_width: (S, N, H, W); error: (N, 2) expected L1 and 1-SSIM of what was taken.
        share, accepted: per target, source -> part of the fused representation, and whether it passed its threshold.
        notes: sentences per target.
        change: source -> (S, N, H, W) image with all sources minus image without this one; empty unless asked for.
        features: (K, D) what the network sees of each source: its features, mean inside the brain.
    """

    image: FloatArray
    half_width: FloatArray
    error: npt.NDArray[np.float64]
    share: list[dict[str, float]]
    accepted: list[dict[str, bool]]
    notes: list[list[str]]
    change: dict[str, FloatArray]
    features: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """What is summed over the volume, of the B slices of one tile.

    Attributes:
        patch: (B, h, w) part of each 4x4 patch inside the brain; seen: (K, D) features, summed over the brain.
        errors: (B, N, 4, 2, h, w); shares, passes: (P,) weight, and area that passed the threshold, of each pair.
    """

    patch: Tensor
    seen: Tensor
    errors: Tensor
    shares: Tensor
    passes: Tensor
    pairs: tuple[tuple[int, int], ...]


def box_of(mask: npt.NDArray[np.bool_], multiple: int = 32) -> tuple[slice, slice]:
    """Rows and columns of the mask, widened to a multiple where the image allows."""
    out = []
    for axis, other in ((1, (0, 2)), (2, (0, 1))):
        hit = np.flatnonzero(mask.any(axis=other))
        lo, hi = int(hit[0]), int(hit[-1]) + 1
        need = -(hi - lo) % multiple
        lo = max(0, lo - need // 2)
        hi = min(mask.shape[axis], lo + (hi - lo) + need)
        out.append(slice(lo, hi))
    return out[0], out[1]


@torch.inference_mode()
def decode(
    bundle: Bundle,
    stack: Stack,
    targets: tuple[str, ...],
    *,
    device: str,
    batch_slices: int,
    progress: Callable[[float], None],
    leave_one_out: bool = False,
) -> Decoded:
    """Every target for every slice that holds head, at most `batch_slices` at a time."""
    network = bundle.network.to(device)
    used, head = tuple(stack.arrays), stack.head
    rows, columns = box_of(head)
    crop = np.stack([array[:, rows, columns] for array in stack.arrays.values()])  # (K, S, h, w)
    depth, height, width = crop.shape[1:]
    pad = (0, -width % 32, 0, -height % 32)
    z_all = np.flatnonzero(head.any(axis=(1, 2)))
    s, t = [bundle.contrasts.index(n) for n in used], [bundle.contrasts.index(n) for n in targets]
    levels = stack.levels.to(device)
    # The three heads and the key-only image.
    heads = np.zeros((depth, len(targets), 4, height, width), np.float32)
    half = np.zeros((depth, len(targets), height, width), np.float32)
    change = {n: np.zeros_like(half) for n in used} if leave_one_out and len(used) > 1 else {}
    tiles = tiling(network, len(used), height + pad[3], width + pad[1], batch_slices, device=device)

    @torch.inference_mode()  # each thread has a mode of its own
    def one(start: int, stop: int) -> _Tile:
        z = z_all[start:stop]
        around = np.stack([z if stack.thick else np.clip(z + d, 0, depth - 1) for d in (-1, 0, 1)], axis=1)
        x = torch.from_numpy(crop[:, around].transpose(1, 0, 2, 3, 4)).to(device)  # (B, K, 3, h, w)
        site = torch.full((1,), stack.site, dtype=torch.long, device=device)
        histograms = levels.expand(len(z), -1, -1)
        encoded = network.encode(F.pad(x, pad), s, site)
        p = network.fuse(encoded, s, t, histograms, None, site)
        every = torch.cat([p.images, p.base], dim=2)[..., :height, :width]
        heads[z] = every.float().cpu().numpy()
        half[z] = ((p.below + p.above) / 2)[..., :height, :width].float().cpu().numpy()
        for k, name in enumerate(change):
            rest = [i for i in range(len(used)) if i != k]
            without = network.fuse(encoded.of(rest), [s[i] for i in rest], t, histograms[:, rest], None, site)
            difference = (p.images.mean(dim=2) - without.images.mean(dim=2))[..., :height, :width]
            change[name][z] = difference.float().cpu().numpy()
        inside = F.pad(torch.from_numpy(stack.brain[z][:, rows, columns].astype(np.float32)).to(device), pad)
        patch = F.avg_pool2d(inside[:, None], 4)[:, 0]
        return _Tile(
            patch=patch,
            seen=torch.stack([torch.einsum("bdhw,bhw->d", f.float(), patch) for f in encoded.feature]),
            errors=torch.cat([p.errors, p.base_errors], dim=2).float(),
            shares=(p.w_eff[:, :, 0] * patch[:, None]).sum(dim=(0, 2, 3)),
            passes=((p.w_global > p.tau).float() * patch.sum(dim=(1, 2))[:, None]).sum(dim=0),
            pairs=p.pairs,
        )

    found: list[_Tile] = []
    done = 0
    for tile in tiles.over(len(z_all), one):
        found.append(tile)
        done += tile.patch.shape[0]
        progress(done / len(z_all))
    pairs = found[0].pairs
    weight = torch.cat([tile.patch for tile in found])
    error = torch.cat([tile.errors for tile in found])  # (S, N, 4, 2, h, w)
    per_head = volume_score(error, weight).cpu().numpy()  # (N, 4)
    total = weight.sum().clamp_min(1e-6)
    mean_error = ((error * weight[:, None, None, None]).sum(dim=(0, 4, 5)) / total).cpu().numpy()
    image = np.zeros((depth, len(targets), *head.shape[1:]), np.float32)
    half_full = np.zeros_like(image)
    shares, passes = (torch.stack([getattr(tile, name) for tile in found]).sum(dim=0) / total
                      for name in ("shares", "passes"))  # fmt: skip
    taken = np.zeros((len(targets), 2))
    notes: list[list[str]] = [[] for _ in targets]
    share: list[dict[str, float]] = []
    accepted: list[dict[str, bool]] = []
    for j in range(len(targets)):
        key = used[network.keys(s, [t[j]])[0]]
        raw = {key: 1.0}
        ok = {key: True}
        for column, (i, jj) in enumerate(pairs):
            if jj == j:
                raw[used[i]] = float(shares[column])
                ok[used[i]] = bool(float(passes[column]) > 0.5)
        if pairs and per_head[j, :3].min() > per_head[j, 3] + LOOP_MARGIN:
            picture, taken[j] = heads[:, j, 3], mean_error[j, 3]
            raw, ok = {key: 1.0}, {n: n == key for n in used}
            notes[j].append(
                f"Made from the key source {key} alone: the other sources were not expected to improve it."
            )
        elif bundle.combine == "choose":
            k = int(per_head[j, :3].argmin())
            picture, taken[j] = heads[:, j, k], mean_error[j, k]
        else:
            picture, taken[j] = heads[:, j, :3].mean(axis=1), mean_error[j, :3].mean(axis=0)
        image[:, j, rows, columns] = picture
        half_full[:, j, rows, columns] = half[:, j]
        norm = sum(raw.values())
        share.append({n: round(raw.get(n, 0.0) / norm, 4) for n in used})
        accepted.append({n: ok.get(n, False) for n in used})
    whole = {}
    for name, part in change.items():
        whole[name] = np.zeros_like(image)
        whole[name][:, :, rows, columns] = part
    return Decoded(
        image=image,
        half_width=half_full,
        error=taken,
        share=share,
        accepted=accepted,
        notes=notes,
        change=whole,
        features=(torch.stack([tile.seen for tile in found]).sum(dim=0) / total).double().cpu().numpy(),
    )
