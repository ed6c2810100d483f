"""Rigid registration of one source to the reference, with a check that says whether to believe it.

Mattes mutual information inside the brain (SimpleITK), from several starts: as the scanner placed the images, centres
together, and the brain masks laid onto each other; the best similarity wins. Inside the brain only: scalp and the
edge of the field of view pull the fit away by 5 to 9 mm where a patient was moved between series (measured on a case
whose alignment is known; brain only: 0.7 to 2.5 mm).

A result is believed when the brains found in the two images, each by itself, cover each other, enough of the brain is
in view, and the motion is one a patient can make. A wrong registration gives a plausible wrong image, hence an
unproven one is refused, never used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from model.imaging.image import Image, resample, to_sitk

#: Larger motion within one study is not repositioning of a head but a wrong series or a failed fit.
MAX_TRANSLATION_MM = 60.0
MAX_ROTATION_DEG = 35.0
#: Without a second brain mask, two fits of equal similarity must put the brain's points this close to each other.
AGREEMENT_MM = 2.5
#: Overlap (Dice) of the two brain masks after registration. Right fits on the two raw cases reached 0.92 to 0.98;
#: the bound itself is a choice, not a measurement.
MIN_BRAIN_OVERLAP = 0.90
#: Fraction of the reference brain that the moving image must cover after registration.
MIN_COVERAGE = 0.80
#: Below this mean displacement the images are taken as aligned: an interpolation would cost more than it mends.
ALIGNED_MM = 0.6
_SEED = 20260214
#: Decimals of radians and mm that are kept: threads add up in any order, and fits differ in the ninth between runs.
_KEPT = (6, 4)


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a source was brought onto the reference.

    Attributes:
        transform: maps reference space to source space (LPS mm); identity when already aligned.
        translation_mm: mean displacement of the brain's points.
        rotation_deg: rotation angle.
        similarity: mutual information at the result (higher is better, nats).
        coverage: fraction of the reference brain inside the source's field of view.
        accepted: whether it may be used; `sentence` says why or why not.
    """

    transform: sitk.Transform
    translation_mm: float
    rotation_deg: float
    similarity: float
    coverage: float
    accepted: bool
    sentence: str


def _points(mask: npt.NDArray[np.bool_], image: Image, count: int = 400) -> npt.NDArray[np.float64]:
    """Evenly chosen points of the mask in LPS mm, (n, 3)."""
    s, r, c = np.nonzero(mask)
    pick = np.linspace(0, len(s) - 1, min(count, len(s))).astype(int)
    index = np.stack([c[pick], r[pick], s[pick], np.ones(len(pick))])
    return np.asarray((image.affine @ index)[:3].T)


def _moved(transform: sitk.Transform, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.array([transform.TransformPoint([float(v) for v in p]) for p in points])


def _rotation(transform: sitk.Transform) -> float:
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [
        np.array(transform.TransformPoint(axis)) - origin for axis in ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    ]
    trace = float(np.trace(np.array(columns)))
    return float(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))))


def _method(mask: sitk.Image, sigma_mm: float, shrink: int, sampling: float) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(48)
    if sampling < 1:
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(sampling, _SEED)
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    _optimise(method, sigma_mm, shrink)
    return method


def _optimise(method: sitk.ImageRegistrationMethod, sigma_mm: float, shrink: int) -> None:
    method.SetOptimizerAsRegularStepGradientDescent(
        1.0, 0.002, 150, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([sigma_mm])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()


def _by_masks(
    moving: Image, moving_mask: npt.NDArray[np.bool_], fixed: Image, fixed_mask: npt.NDArray[np.bool_]
) -> sitk.Euler3DTransform:
    """The masks laid onto each other: centroids first, then the least squared difference of the soft masks."""
    fixed_soft = _coarse(fixed.with_array(fixed_mask.astype(np.float32)), 3.0)
    moving_soft = _coarse(moving.with_array(moving_mask.astype(np.float32)), 3.0)
    centre = _points(fixed_mask, fixed).mean(axis=0)
    transform = _euler(centre, _points(moving_mask, moving).mean(axis=0) - centre)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetInterpolator(sitk.sitkLinear)
    _optimise(method, 4.0, 1)
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed_soft, moving_soft)
    return _repeatable(transform)


def _repeatable(transform: sitk.Euler3DTransform) -> sitk.Euler3DTransform:
    """Rounded, so that the same images give the same transform, and it the same voxels, every time."""
    angles, shifts = transform.GetParameters()[:3], transform.GetParameters()[3:]
    transform.SetParameters([*(round(v, _KEPT[0]) for v in angles), *(round(v, _KEPT[1]) for v in shifts)])
    return transform


def _euler(
    centre: npt.NDArray[np.float64], offset: npt.NDArray[np.float64] | None = None
) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(v) for v in centre])
    if offset is not None:
        transform.SetTranslation([float(v) for v in offset])
    return transform


def _coarse(image: Image, mm: float = 2.0) -> sitk.Image:
    """The image smoothed and resampled to about `mm`: registration needs no more and is several times faster."""
    full = to_sitk(image)
    spacing = np.array(full.GetSpacing())
    new = np.maximum(spacing, mm)
    if np.allclose(new, spacing):
        return full
    sigma = [float(0.4 * n) if n > s * 1.2 else 0.0 for s, n in zip(spacing, new, strict=True)]
    smooth = full
    for axis, value in enumerate(sigma):
        if value > 0 and full.GetSize()[axis] >= 4:
            smooth = sitk.RecursiveGaussian(
                smooth, value, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis
            )
    size = [max(1, int(n * s / w)) for n, s, w in zip(full.GetSize(), spacing, new, strict=True)]
    shift = np.array(full.GetDirection()).reshape(3, 3) @ ((new - spacing) / 2)
    origin = np.array(full.GetOrigin()) + shift
    return sitk.Resample(
        smooth,
        size,
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        new.tolist(),
        full.GetDirection(),
        0.0,
        sitk.sitkFloat32,
    )


def _centre_of_mass(image: Image) -> npt.NDArray[np.float64]:
    values = np.maximum(image.array, 0)
    weight = float(values.sum()) or 1.0
    index = [
        float((values.sum(axis=tuple(k for k in range(3) if k != axis)) * np.arange(n)).sum() / weight)
        for axis, n in enumerate(values.shape)
    ]
    return np.asarray((image.affine @ np.array([*index[::-1], 1.0]))[:3])


def register(
    moving: Image,
    fixed: Image,
    fixed_mask: npt.NDArray[np.bool_],
    *,
    moving_mask: npt.NDArray[np.bool_] | None = None,
    fixed_in_place: bool = False,
) -> Registration:
    """Rigid transform that brings `moving` onto `fixed`.

    Args:
        moving, fixed: images of one head, any grids.
        fixed_mask: (S, R, C) bool on the grid of `fixed`; the brain.
        moving_mask: the brain on the grid of `moving`, found in it alone: a start, and the proof of the result.
        fixed_in_place: both images lie on one grid already, as registered data do: the fit only checks this.

    Returns:
        the transform with its evidence; `accepted` is False when it cannot be believed (nothing is raised).
    """
    points = _points(fixed_mask, fixed)
    centre = points.mean(axis=0)
    fixed_small, moving_small = _coarse(fixed), _coarse(moving)
    mask = sitk.GetImageFromArray(fixed_mask.astype(np.uint8))
    mask.CopyInformation(to_sitk(fixed))
    # The head's outline leads a fit near, the brain alone makes it exact; with no brain to prove it, the outline
    # decides.
    wide = sitk.BinaryDilate(mask, [int(np.ceil(14 / s)) for s in mask.GetSpacing()])
    wide_small = sitk.Resample(wide, fixed_small, sitk.Transform(), sitk.sitkNearestNeighbor)
    mask_small = sitk.Resample(mask, fixed_small, sitk.Transform(), sitk.sitkNearestNeighbor)
    judge = wide_small if moving_mask is None else mask_small

    def similarity(transform: sitk.Transform) -> float:
        check = _method(judge, 1.0, 1, 1.0)
        check.SetInitialTransform(transform)
        try:
            return -float(check.MetricEvaluate(fixed_small, moving_small))
        except RuntimeError:
            return 0.0  # ITK raises when nothing of the mask falls inside the moving image

    def climb(start: sitk.Euler3DTransform, region: sitk.Image) -> sitk.Euler3DTransform | None:
        transform = sitk.Euler3DTransform(start)
        for sigma, shrink, sampling in ((3.0, 2, 0.7), (1.0, 1, 0.5)):
            method = _method(region, sigma, shrink, sampling)
            method.SetInitialTransform(transform, inPlace=True)
            try:
                method.Execute(fixed_small, moving_small)
            except RuntimeError:
                return None  # as above: this start leads nowhere
        return _repeatable(transform)

    # A climb may lose its way, so where it began stays a candidate.
    identity = _euler(centre)
    tried: list[sitk.Euler3DTransform | None] = [identity, climb(identity, wide_small)]
    if moving_mask is not None and moving_mask.any():
        laid = _by_masks(moving, moving_mask, fixed, fixed_mask)
        tried += [climb(tried[1] or identity, mask_small), laid, climb(laid, mask_small)]
    elif not fixed_in_place:
        offset = _centre_of_mass(moving) - _centre_of_mass(fixed)
        aside = np.array([5.0, -5.0, 4.0])
        tried.append(
            climb(_euler(centre, offset if np.linalg.norm(offset) > 6 else offset + aside), wide_small)
        )

    def overlap_at(transform: sitk.Transform) -> float | None:
        if moving_mask is None:
            return None
        seen = resample(moving.with_array(np.ones_like(moving.array)), fixed, transform, order=0).array > 0.5
        moved = (
            resample(moving.with_array(moving_mask.astype(np.float32)), fixed, transform, order=1).array > 0.5
        )
        there = fixed_mask & seen
        return 2 * float((moved & there).sum()) / max(1.0, float(moved.sum() + there.sum()))

    # Information is measured where the images meet, and grows when they meet in little: the brains must meet first.
    identity_value = similarity(identity)
    fits = sorted(
        ((t, identity_value if t is identity else similarity(t)) for t in tried if t is not None),
        key=lambda one: ((overlap_at(one[0]) or 0.0) >= MIN_BRAIN_OVERLAP, one[1]),
        reverse=True,
    )
    best, value = fits[0]
    # A fit that ended clearly worse is no second opinion: it merely got stuck far away.
    near = [t for t, v in fits[1:] if v > 0.97 * value]
    apart = max(
        (float(np.linalg.norm(_moved(best, points) - _moved(t, points), axis=1).mean()) for t in near),
        default=0.0,
    )
    shift_mm = float(np.linalg.norm(_moved(best, points) - points, axis=1).mean())
    rotation = _rotation(best)
    transform: sitk.Transform = best
    aligned = shift_mm < ALIGNED_MM or (fixed_in_place and (shift_mm < 2.0 or identity_value > 0.97 * value))
    if aligned:
        transform, value = sitk.Transform(3, sitk.sitkIdentity), identity_value
    inside = resample(moving.with_array(np.ones_like(moving.array)), fixed, transform, order=0).array > 0.5
    coverage = float(inside[fixed_mask].mean())
    overlap = overlap_at(transform)
    reasons = []
    if value < 0.08:
        reasons.append(f"the images share too little information (mutual information {value:.2f} nats)")
    if overlap is not None and overlap < MIN_BRAIN_OVERLAP:
        reasons.append(f"the brains found in the two images cover each other by {100 * overlap:.0f} % only")
    if overlap is None and not aligned and apart > AGREEMENT_MM:
        reasons.append(f"two starts ended {apart:.1f} mm apart with equal similarity")
    if coverage < MIN_COVERAGE:
        reasons.append(f"only {100 * coverage:.0f} % of the reference brain lies in its field of view")
    if not aligned and (shift_mm > MAX_TRANSLATION_MM or rotation > MAX_ROTATION_DEG):
        reasons.append(f"it would have to move {shift_mm:.0f} mm and turn {rotation:.0f} degrees")
    if reasons:
        sentence = "Registration not accepted: " + "; ".join(reasons) + "."
    elif aligned:
        sentence = f"Lies on the reference already (residual {shift_mm:.1f} mm), not moved."
    else:
        proof = f"; the two brains cover each other by {100 * overlap:.0f} %" if overlap is not None else ""
        sentence = (
            f"Registered rigidly to the reference: {shift_mm:.1f} mm, {rotation:.1f} degrees{proof}; "
            f"{100 * coverage:.0f} % of the brain in view."
        )
    return Registration(
        transform=transform,
        translation_mm=0.0 if aligned else shift_mm,
        rotation_deg=0.0 if aligned else rotation,
        similarity=value,
        coverage=coverage,
        accepted=not reasons,
        sentence=sentence,
    )
