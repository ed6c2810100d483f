"""From images by contrast to synthetic images: the one door through which everything else uses the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from model.bundle import Bundle
from model.contrasts import FIXED_SCALE, canonical
from model.errors import ImagingError, RequestError
from model.heads.quality import volume_score
from model.imaging import (
    BrainMask,
    Image,
    Record,
    Registration,
    brain_mask,
    normalise,
    register,
    resample,
    working_grid,
)
from model.imaging.image import FloatArray
from model.imaging.normalise import PERCENTILE

Progress = Callable[[str, float], None]

#: On these contrasts the brain mask follows the brain; on the others it takes a part of the eyes along.
MASK_ORDER = ("T1", "T1C", "FLAIR", "T2", "DWI", "ADC")
RELIABLE_MASK = MASK_ORDER[:3]
#: Normalised signal above which a voxel belongs to the head.
HEAD_LEVEL = 0.08
#: Expected error by which the fused image must not exceed the key-only image (closed loop, section 2.5).
LOOP_MARGIN = 0.005


@dataclass(frozen=True, kw_only=True)
class TargetResult:
    """One synthetic contrast on the reference's grid.

    Attributes:
        array: (S, R, C) uint16 stored values.
        scale: stored value that the model holds to be the target's 99.5th percentile inside the brain.
        uncertainty: (S, R, C) float32, half-width of the 90 % interval, in stored values.
        quality: expected_mae and expected_dissimilarity (1-SSIM) inside the brain, in units of `scale`; brain_ml.
        contributions: source -> share of the fused representation inside the brain, sums to 1; key included.
        accepted: source -> whether w_global passed its threshold (the key always).
        window: (center, width) in stored values.
    """

    contrast: str
    array: npt.NDArray[np.uint16]
    scale: float
    uncertainty: FloatArray
    quality: dict[str, float]
    contributions: dict[str, float]
    accepted: dict[str, bool]
    abstained: bool
    reasons: tuple[str, ...]
    window: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Everything one call made, and how.

    Attributes:
        model: digest of the weights; reference: the contrast whose grid the results lie on.
        keys: target -> key source; registrations: every other source -> how it was aligned.
        dropped: source -> why it was not used.
        neighbour_slices: how many slices to either side the network read for one slice (0 where they are thick).
    """

    model: str
    reference: str
    keys: dict[str, str]
    targets: dict[str, TargetResult]
    seconds: dict[str, float]
    registrations: dict[str, Registration]
    dropped: dict[str, str] = field(default_factory=dict)
    neighbour_slices: int = 0


class _Stages:
    """Seconds per stage, and progress between them."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self.progress = progress or (lambda stage, fraction: None)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.progress(name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self.progress(name, 1.0)


def _keys(bundle: Bundle, sources: Sequence[str], targets: Sequence[str]) -> dict[str, str]:
    """The key source of each target: the best single source, ties in canonical order."""
    return {
        t: max(sources, key=lambda s: (bundle.key_preference[s][t], -bundle.contrasts.index(s)))
        for t in targets
    }


def _best_mask(
    brain: BrainMask,
    reference: str,
    aligned: Mapping[str, Image],
    own: Mapping[str, BrainMask],
    registrations: Mapping[str, Registration],
    sources: Mapping[str, Image],
) -> BrainMask:
    """The mask of the contrast on which it is found most reliably, on the working grid."""
    best = next(c for c in MASK_ORDER if c in aligned)
    if best == reference or reference in RELIABLE_MASK:
        return brain
    if best not in own:  # on the reference's grid already
        return brain_mask(aligned[best], subject=best)
    soft = sources[best].with_array(own[best].mask.astype(np.float32))
    mask = resample(soft, aligned[reference], registrations[best].transform, order=1).array > 0.5
    return replace(own[best], mask=mask)


def _head(arrays: Mapping[str, FloatArray], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Head or brain with a margin: where any source has signal, closed and filled slice by slice."""
    signal = np.max([a for c, a in arrays.items() if c not in FIXED_SCALE] or list(arrays.values()), axis=0)
    image = sitk.GetImageFromArray(((signal > HEAD_LEVEL) | brain).astype(np.uint8))
    closed = sitk.BinaryMorphologicalClosing(sitk.BinaryMorphologicalOpening(image, [1, 1, 0]), [4, 4, 0])
    out = np.zeros(brain.shape, bool)
    for z in range(brain.shape[0]):
        out[z] = sitk.GetArrayFromImage(sitk.BinaryFillhole(closed[:, :, z])).astype(bool)
    return out | brain


def _box(mask: npt.NDArray[np.bool_], multiple: int = 32) -> tuple[slice, slice]:
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


def synthesize(
    sources: Mapping[str, Image],
    targets: Sequence[str],
    bundle: Bundle,
    *,
    reference: str | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
    batch_slices: int = 8,
) -> Outputs:
    """Make the targets from the sources.

    Args:
        sources: contrast -> image, any grids, at least one.
        targets: contrasts to make, none of them a source.
        reference: source whose grid the results lie on; default the key source of the first target.
        progress: called with (stage, fraction done).
        device: torch device of the network; imaging runs on the CPU.
        batch_slices: slices in one network call; bounds memory.

    Raises:
        RequestError: unknown contrast, no source, a target that is a source, an unknown reference.
        ImagingError: blank or not_a_brain reference.
    """
    names = canonical(sources, bundle.contrasts)
    wanted = canonical(targets, bundle.contrasts)
    if not names or not wanted or set(names) & set(wanted):
        raise RequestError(
            code="targets" if names else "sources",
            subject=", ".join(wanted) or "targets",
            reason="needs at least one source and one target, and no contrast can be both"
            f" (sources {', '.join(names) or 'none'})",
            cure="Name contrasts that are missing as targets.",
        )
    if reference is not None and reference not in names:
        raise RequestError(
            code="sources",
            subject=reference,
            reason="the reference is not among the sources",
            cure=f"Use one of {', '.join(names)}.",
        )
    keys = _keys(bundle, names, wanted)
    reference = reference or keys[wanted[0]]
    stages = _Stages(progress)

    registrations: dict[str, Registration] = {}
    dropped: dict[str, str] = {}
    own_masks: dict[str, BrainMask] = {}
    with stages.stage("mask"):
        grid = working_grid(sources[reference])
        brain = brain_mask(grid.grid, subject=f"reference {reference}")
        for name in names:
            if name == reference or sources[name].same_grid(sources[reference]):
                continue
            try:
                own_masks[name] = brain_mask(sources[name], subject=name)
            except ImagingError as error:
                dropped[name] = f"{name} was not used. {error}"
    with stages.stage("register"):
        aligned: dict[str, Image] = {reference: grid.grid}
        for name in names:
            if name == reference or name in dropped:
                continue
            own = own_masks.get(name)
            result = register(
                sources[name],
                grid.grid,
                brain.mask,
                moving_mask=None if own is None else own.mask,
                fixed_in_place=own is None,
            )
            registrations[name] = result
            if result.accepted:
                aligned[name] = resample(sources[name], grid.grid, result.transform)
            else:
                dropped[name] = f"{name} was not used. {result.sentence}"
        brain = _best_mask(brain, reference, aligned, own_masks, registrations, sources)
    used = tuple(n for n in names if n in aligned)
    with stages.stage("normalise"):
        arrays: dict[str, FloatArray] = {}
        records: dict[str, Record] = {}
        for name in used:
            arrays[name], records[name] = normalise(aligned[name].array, brain.mask, name, subject=name)
        head = _head(arrays, brain.mask)
    keys = _keys(bundle, used, wanted)

    thickness = grid.grid.spacing[2]
    levels = torch.tensor(
        [[*records[n].quantiles, thickness / 5.0, float(brain.stripped)] for n in used], dtype=torch.float32
    )
    with stages.stage("network"):
        run = _run(
            bundle, arrays, used, wanted, levels, head, brain.mask, grid.thick, device, batch_slices, stages
        )
    with stages.stage("write-back"):
        results = {
            t: _finish(
                bundle, t, j, run, grid.back, brain.mask, head, keys[t], used, dropped, brain.volume_ml
            )
            for j, t in enumerate(wanted)
        }
    return Outputs(
        model=bundle.digest,
        reference=reference,
        keys=keys,
        targets=results,
        seconds={k: round(v, 3) for k, v in stages.seconds.items()},
        registrations=registrations,
        dropped=dropped,
        neighbour_slices=0 if grid.thick else 1,
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Network results on the whole working grid: (S, N, ...) normalised."""

    image: FloatArray
    half_width: FloatArray
    error: npt.NDArray[np.float64]  # (N, 2) expected L1 and 1-SSIM of what was taken
    share: list[dict[str, float]]
    accepted: list[dict[str, bool]]
    notes: list[list[str]]


@torch.inference_mode()
def _run(
    bundle: Bundle,
    arrays: Mapping[str, FloatArray],
    used: tuple[str, ...],
    wanted: tuple[str, ...],
    levels: torch.Tensor,
    head: npt.NDArray[np.bool_],
    brain: npt.NDArray[np.bool_],
    thick: bool,
    device: str,
    batch_slices: int,
    stages: _Stages,
) -> _Run:
    network = bundle.network.to(device)
    rows, columns = _box(head)
    stack = np.stack([arrays[n][:, rows, columns] for n in used])  # (K, S, h, w)
    depth, height, width = stack.shape[1:]
    pad = (0, -width % 32, 0, -height % 32)
    z_all = np.flatnonzero(head.any(axis=(1, 2)))
    s, t = [bundle.contrasts.index(n) for n in used], [bundle.contrasts.index(n) for n in wanted]
    heads_out = np.zeros(
        (depth, len(wanted), 4, height, width), np.float32
    )  # three heads and the key-only image
    half = np.zeros((depth, len(wanted), height, width), np.float32)
    errors, weights, shares, passes = [], [], [], []
    pairs: tuple[tuple[int, int], ...] = ()
    for start in range(0, len(z_all), batch_slices):
        z = z_all[start : start + batch_slices]
        around = np.stack(
            [z if thick else np.clip(z + d, 0, depth - 1) for d in (-1, 0, 1)], axis=1
        )  # (B, 3)
        x = torch.from_numpy(stack[:, around].transpose(1, 0, 2, 3, 4)).to(device)
        p = network(F.pad(x, pad), s, t, levels.to(device).expand(len(z), -1, -1))
        every = torch.cat([p.images, p.base], dim=2)[..., :height, :width]
        heads_out[z] = every.cpu().numpy()
        half[z] = ((p.below + p.above) / 2)[..., :height, :width].cpu().numpy()
        inside = F.pad(torch.from_numpy(brain[z][:, rows, columns].astype(np.float32)).to(device), pad)
        patch = F.avg_pool2d(inside[:, None], 4)[:, 0]
        weights.append(patch)
        errors.append(torch.cat([p.errors, p.base_errors], dim=2))
        pairs = p.pairs
        if pairs:
            area = patch.sum(dim=(1, 2))
            shares.append((p.w_eff[:, :, 0] * patch[:, None]).sum(dim=(0, 2, 3)))
            passes.append(((p.w_global > p.tau).float() * area[:, None]).sum(dim=0))
        stages.progress("network", min(1.0, (start + len(z)) / len(z_all)))
    weight = torch.cat(weights)
    error = torch.cat(errors)  # (S, N, 4, 2, h, w)
    per_head = volume_score(error, weight).cpu().numpy()  # (N, 4)
    mean_error = (
        ((error * weight[:, None, None, None]).sum(dim=(0, 4, 5)) / weight.sum().clamp_min(1e-6))
        .cpu()
        .numpy()
    )
    total = float(weight.sum().clamp_min(1e-6))
    image = np.zeros((head.shape[0], len(wanted), *head.shape[1:]), np.float32)
    half_full = np.zeros_like(image)
    taken = np.zeros((len(wanted), 2))
    notes: list[list[str]] = [[] for _ in wanted]
    share: list[dict[str, float]] = []
    accepted: list[dict[str, bool]] = []
    for j in range(len(wanted)):
        key = used[network.keys(s, [t[j]])[0]]
        raw = {key: 1.0}
        ok = {key: True}
        for column, (i, jj) in enumerate(pairs):
            if jj == j:
                raw[used[i]] = float(torch.stack(shares)[:, column].sum()) / total
                ok[used[i]] = bool(float(torch.stack(passes)[:, column].sum()) / total > 0.5)
        if pairs and per_head[j, :3].min() > per_head[j, 3] + LOOP_MARGIN:
            picture, taken[j] = heads_out[:, j, 3], mean_error[j, 3]
            raw, ok = {key: 1.0}, {n: n == key for n in used}
            notes[j].append(
                f"Made from the key source {key} alone: the other sources were not expected to improve it."
            )
        elif bundle.combine == "choose":
            k = int(per_head[j, :3].argmin())
            picture, taken[j] = heads_out[:, j, k], mean_error[j, k]
        else:
            picture, taken[j] = heads_out[:, j, :3].mean(axis=1), mean_error[j, :3].mean(axis=0)
        image[:, j, rows, columns] = picture
        half_full[:, j, rows, columns] = half[:, j]
        norm = sum(raw.values())
        share.append({n: round(raw.get(n, 0.0) / norm, 4) for n in used})
        accepted.append({n: ok.get(n, False) for n in used})
    return _Run(image=image, half_width=half_full, error=taken, share=share, accepted=accepted, notes=notes)


def _finish(
    bundle: Bundle,
    target: str,
    j: int,
    run: _Run,
    back: Callable[[FloatArray], FloatArray],
    brain: npt.NDArray[np.bool_],
    head: npt.NDArray[np.bool_],
    key: str,
    used: tuple[str, ...],
    dropped: Mapping[str, str],
    brain_ml: float,
) -> TargetResult:
    """Stored values on the reference's grid, with the sentences a reader needs."""
    unit = FIXED_SCALE.get(target, bundle.stored_scale)
    normalised = np.clip(run.image[:, j], 0, 4) * head
    stored = np.clip(np.rint(back(normalised) * unit), 0, 65535).astype(np.uint16)
    factor = 1.0 if bundle.interval_factor is None else bundle.interval_factor
    uncertainty = np.maximum(back(run.half_width[:, j] * head) * np.float32(unit * factor), 0).astype(
        np.float32
    )
    inside = normalised[brain]
    top = float(np.percentile(inside, PERCENTILE))
    scale = top * unit if target in FIXED_SCALE else unit
    mae, dissimilarity = (float(v) for v in run.error[j])
    abstained = mae > bundle.worst_expected_error or not np.isfinite(inside).all() or top <= 0
    reasons = [
        f"{target} was made from {', '.join(used)}, key source {key}, by model {bundle.name} {bundle.version}.",
        *dropped.values(),
        *run.notes[j],
    ]
    if bundle.interval_factor is None:
        reasons.append("The uncertainty interval is uncalibrated.")
    if abstained:
        reasons.append(
            f"Abstained: expected error {mae:.2f} of the target's range is above {bundle.worst_expected_error:.2f}."
        )
    return TargetResult(
        contrast=target,
        array=stored,
        scale=scale,
        uncertainty=uncertainty,
        quality={
            "expected_mae": round(mae, 4),
            "expected_dissimilarity": round(dissimilarity, 4),
            "brain_ml": round(brain_ml, 1),
        },
        contributions=run.share[j],
        accepted=run.accepted[j],
        abstained=abstained,
        reasons=tuple(reasons),
        window=(round(0.55 * top * unit, 1), round(1.1 * top * unit, 1)),
    )
