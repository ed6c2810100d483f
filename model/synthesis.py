"""From images by contrast to synthetic images: the one door through which everything else uses the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch
from scipy import ndimage

from model.arithmetic import arithmetic
from model.bundle import Bundle
from model.contrasts import FIXED_SCALE, canonical
from model.errors import ImagingError, RequestError
from model.identity import identity_probabilities
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
from model.personal.pfm import UNKNOWN
from model.slices import Stack, decode
from model.verdict import TargetResult, finish, strangeness

Progress = Callable[[str, float], None]

#: On these contrasts the brain mask follows the brain; on the others it takes a part of the eyes along.
MASK_ORDER = ("T1", "T1C", "FLAIR", "T2", "DWI", "ADC")
RELIABLE_MASK = MASK_ORDER[:3]
#: Normalised signal above which a voxel belongs to the head.
HEAD_LEVEL = 0.08


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
    best = _mask_source(reference, aligned)
    if best == reference:
        return brain
    if best not in own:  # on the reference's grid already
        return brain_mask(aligned[best], subject=best)
    exact = brain_mask(sources[best], subject=best) if own[best].coarse else own[best]
    soft = sources[best].with_array(exact.mask.astype(np.float32))
    mask = resample(soft, aligned[reference], registrations[best].transform, order=1).array > 0.5
    return replace(exact, mask=mask)


def _mask_source(reference: str, names: Collection[str]) -> str:
    """The contrast in whose mask the percentiles are taken: the reference, unless another shows the brain better."""
    if reference in RELIABLE_MASK:
        return reference
    return next(c for c in MASK_ORDER if c in names)


def _own_mask(image: Image, name: str, *, coarse: bool) -> BrainMask:
    """The brain in one source by itself; where the coarse network finds none, the whole method has its say."""
    if coarse:
        try:
            return brain_mask(image, subject=name, coarse=True)
        except ImagingError as error:
            if error.code != "not_a_brain":
                raise
    return brain_mask(image, subject=name)


def _register(moving: Image, fixed: Image, brain: BrainMask, own: BrainMask | None) -> Registration:
    """One source onto the reference; without a mask of its own it lies there already, and this is only checked."""
    return register(
        moving,
        fixed,
        brain.mask,
        moving_mask=None if own is None else own.mask,
        fixed_in_place=own is None,
    )


def head_mask(arrays: Mapping[str, FloatArray], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Head or brain with a margin: where any source has signal, closed and filled slice by slice."""
    signal = np.max([a for c, a in arrays.items() if c not in FIXED_SCALE] or list(arrays.values()), axis=0)
    image = sitk.GetImageFromArray(((signal > HEAD_LEVEL) | brain).astype(np.uint8))
    closed = sitk.BinaryMorphologicalClosing(sitk.BinaryMorphologicalOpening(image, [1, 1, 0]), [4, 4, 0])
    return _filled(sitk.GetArrayFromImage(closed).astype(bool)) | brain


def _filled(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Holes of each slice filled: what is not mask and does not reach the slice's border."""
    within_slice = np.zeros((3, 3, 3), bool)
    within_slice[1] = [[False, True, False], [True, True, True], [False, True, False]]
    labels, count = ndimage.label(~mask, structure=within_slice)
    outside = np.zeros(count + 1, bool)
    for border in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        outside[np.unique(border)] = True
    outside[0] = False
    filled: npt.NDArray[np.bool_] = ~outside[labels]
    return filled


def synthesize(
    sources: Mapping[str, Image],
    targets: Sequence[str],
    bundle: Bundle,
    *,
    reference: str | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
    batch_slices: int = 8,
    site: str | None = None,
    leave_one_out: bool = False,
    precision: str = "fp32",
    deterministic: bool | None = None,
) -> Outputs:
    """Make the targets from the sources.

    Args:
        sources: contrast -> image, any grids, at least one.
        targets: contrasts to make, none of them a source.
        reference: source whose grid the results lie on; default the key source of the first target.
        progress: called with (stage, fraction done).
        device: torch device of the network; imaging runs on the CPU.
        batch_slices: slices in one network call; bounds memory.
        site: whose images these are, one of the bundle's sites; default the unknown site.
        leave_one_out: also make every target without each source in turn (TargetResult.change).
        precision: fp32, or bf16 on a CUDA device.
        deterministic: two runs give the same bits, or raise; default on a CPU.

    Raises:
        RequestError: unknown contrast, no source, a target that is a source, an unknown reference or site, a precision
            that the device does not compute in.
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
    sites = bundle.network.config.sites
    if site is not None and site not in sites:
        raise RequestError(
            code="site",
            subject=site,
            reason="the model was not trained on this site",
            cure=f"Use one of {', '.join(sites)}, or none.",
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
        exact = _mask_source(reference, names)
        for name in names:
            if name == reference or sources[name].same_grid(sources[reference]):
                continue
            try:
                own_masks[name] = _own_mask(sources[name], name, coarse=name != exact)
            except ImagingError as error:
                dropped[name] = f"{name} was not used. {error}"
    with stages.stage("register"):
        aligned: dict[str, Image] = {reference: grid.grid}
        for name in names:
            if name == reference or name in dropped:
                continue
            own = own_masks.get(name)
            result = _register(sources[name], grid.grid, brain, own)
            if own is not None and own.coarse and not result.accepted:
                # No source is refused on the word of the coarse mask alone.
                try:
                    own_masks[name] = _own_mask(sources[name], name, coarse=False)
                except ImagingError as error:
                    registrations[name], dropped[name] = result, f"{name} was not used. {error}"
                    continue
                result = _register(sources[name], grid.grid, brain, own_masks[name])
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
        head = head_mask(arrays, brain.mask)
    keys = _keys(bundle, used, wanted)

    thickness = grid.grid.spacing[2]
    levels = torch.tensor(
        [[*records[n].quantiles, thickness / 5.0, float(brain.stripped)] for n in used], dtype=torch.float32
    )
    with stages.stage("network"), arithmetic(device, precision, deterministic):
        stack = Stack(
            arrays=arrays, levels=levels, head=head, brain=brain.mask, thick=grid.thick,
            site=0 if site is None else sites.index(site),
        )  # fmt: skip
        run = decode(
            bundle,
            stack,
            wanted,
            device=device,
            batch_slices=batch_slices,
            progress=lambda fraction: stages.progress("network", fraction),
            leave_one_out=leave_one_out,
        )
    with stages.stage("identity"):
        looks = {t: _looks_like(bundle, run.image[:, j], brain.mask) for j, t in enumerate(wanted)}
    strange = strangeness(bundle, used, run)
    with stages.stage("write-back"):
        results = {
            t: finish(
                bundle,
                t,
                j,
                run,
                grid.back,
                brain.mask,
                head,
                keys[t],
                used,
                dropped,
                brain.volume_ml,
                looks[t],
                site or UNKNOWN,
                strange,
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


def _looks_like(bundle: Bundle, image: FloatArray, brain: npt.NDArray[np.bool_]) -> dict[str, float] | None:
    """What the judge of identity takes the image for (CMIM); None without a judge or without an image to judge."""
    inside = image[brain]
    if bundle.identity is None or not np.isfinite(inside).all() or float(inside.max()) <= 0:
        return None
    return identity_probabilities(bundle.identity, image, brain)
