"""Rigid registration of one source to the reference, with a check that says whether to believe it.

Mattes mutual information over a multi-resolution pyramid (SimpleITK). A result is believed when two starts that lie
apart (as the scanner placed the images, and centres of mass together) lead to one pose, the images share enough of
the brain there, and the motion is one a patient can make. A wrong registration gives a plausible wrong image, hence
an unproven one is refused, never used.
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
#: Two independent fits must put the head's points within this distance of each other.
AGREEMENT_MM = 2.5
#: Fraction of the reference brain that the moving image must cover after registration.
MIN_COVERAGE = 0.80
#: Below this mean displacement the images are taken as aligned: an interpolation would cost more than it mends.
ALIGNED_MM = 0.6
_SEED = 20260214


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


def _method(
    fixed_mask: sitk.Image | None, shrink: list[int], sigmas: list[float], sampling: float
) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(48)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(sampling, _SEED)
    if fixed_mask is not None:
        method.SetMetricFixedMask(fixed_mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        1.0, 0.003, 120, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-5
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel(sigmas)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


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


def register(
    moving: Image,
    fixed: Image,
    fixed_mask: npt.NDArray[np.bool_],
    *,
    moving_centre: npt.NDArray[np.float64] | None = None,
    fixed_in_place: bool = False,
) -> Registration:
    """Rigid transform that brings `moving` onto `fixed`.

    Args:
        moving, fixed: images of one head, any grids.
        fixed_mask: (S, R, C) bool on the grid of `fixed`; the brain.
        moving_centre: LPS mm centre of the moving head, for the second start; default its centre of mass.
        fixed_in_place: both images lie on one grid already, as registered data do: the fit only checks this.

    Returns:
        the transform with its evidence; `accepted` is False when it cannot be believed (nothing is raised).
    """
    points = _points(fixed_mask, fixed)
    centre = points.mean(axis=0)
    fixed_small, moving_small = _coarse(fixed), _coarse(moving)
    mask = sitk.GetImageFromArray(fixed_mask.astype(np.uint8))
    mask.CopyInformation(to_sitk(fixed))
    # The head's outline guides the fit: the brain alone slides along its own symmetry in thick slices.
    margin = sitk.BinaryDilate(mask, [int(np.ceil(14 / s)) for s in mask.GetSpacing()])
    mask_small = sitk.Resample(margin, fixed_small, sitk.Transform(), sitk.sitkNearestNeighbor)

    def fit(start: sitk.Euler3DTransform) -> tuple[sitk.Euler3DTransform, float]:
        transform = sitk.Euler3DTransform(start)
        for shrink, sigmas, sampling in (([2], [3.0], 0.6), ([1], [1.0], 0.35)):
            method = _method(mask_small, shrink, sigmas, sampling)
            method.SetInitialTransform(transform, inPlace=True)
            try:
                method.Execute(fixed_small, moving_small)
            except RuntimeError:
                # ITK raises when no sample of the mask falls inside the moving image: that start leads nowhere.
                return transform, 0.0
        check = _method(mask_small, [1], [1.0], 0.6)
        check.SetInitialTransform(transform)
        return transform, -float(check.MetricEvaluate(fixed_small, moving_small))

    def at(transform: sitk.Transform) -> float:
        check = _method(mask_small, [1], [1.0], 0.6)
        check.SetInitialTransform(transform)
        try:
            return -float(check.MetricEvaluate(fixed_small, moving_small))
        except RuntimeError:
            return 0.0

    if moving_centre is None:
        values = np.maximum(moving.array, 0)
        weight = values.sum() or 1.0
        index = [
            float((values.sum(axis=tuple(k for k in range(3) if k != a)) * np.arange(n)).sum() / weight)
            for a, n in enumerate(values.shape)
        ]
        moving_centre = (moving.affine @ np.array([*index[::-1], 1.0]))[:3]
        fixed_values = np.maximum(fixed.array, 0)
        weight = fixed_values.sum() or 1.0
        index = [
            float((fixed_values.sum(axis=tuple(k for k in range(3) if k != a)) * np.arange(n)).sum() / weight)
            for a, n in enumerate(fixed_values.shape)
        ]
        fixed_centre = (fixed.affine @ np.array([*index[::-1], 1.0]))[:3]
    else:
        fixed_centre = centre
    offset = moving_centre - fixed_centre

    first, first_value = fit(_euler(centre))
    # The second start is away from the first: the centres of mass, or 8 mm aside when those agree already.
    aside = offset if np.linalg.norm(offset) > 6 else offset + np.array([5.0, -5.0, 4.0])
    second, second_value = fit(_euler(centre, aside))
    best, value = (first, first_value) if first_value >= second_value else (second, second_value)
    apart = float(np.linalg.norm(_moved(first, points) - _moved(second, points), axis=1).mean())
    identity_value = at(_euler(centre))
    shift = float(np.linalg.norm(_moved(best, points) - points, axis=1).mean())
    rotation = _rotation(best)
    transform: sitk.Transform = best
    aligned = shift < ALIGNED_MM or (fixed_in_place and (shift < 2.0 or identity_value > 0.97 * value))
    if aligned:
        transform, value = sitk.Transform(3, sitk.sitkIdentity), identity_value
    inside = resample(moving.with_array(np.ones_like(moving.array)), fixed, transform, order=0).array
    coverage = float((inside[fixed_mask] > 0.5).mean())
    # A fit that ended worse than the better one is no second opinion when it merely got stuck far away.
    stuck = abs(first_value - second_value) > 0.15 * max(value, 1e-6)
    reasons = []
    if value < 0.08:
        reasons.append(f"the images share too little information (mutual information {value:.2f} nats)")
    if not aligned and apart > AGREEMENT_MM and not stuck:
        reasons.append(f"two starts ended {apart:.1f} mm apart with equal similarity")
    if coverage < MIN_COVERAGE:
        reasons.append(f"only {100 * coverage:.0f} % of the reference brain lies in its field of view")
    if not aligned and (shift > MAX_TRANSLATION_MM or rotation > MAX_ROTATION_DEG):
        reasons.append(f"it would have to move {shift:.0f} mm and turn {rotation:.0f} degrees")
    if reasons:
        sentence = "Registration not accepted: " + "; ".join(reasons) + "."
    elif aligned:
        sentence = f"Lies on the reference already (residual {shift:.1f} mm), not moved."
    else:
        sentence = (
            f"Registered rigidly to the reference: {shift:.1f} mm, {rotation:.1f} degrees, two starts agree within "
            f"{apart:.1f} mm, {100 * coverage:.0f} % of the brain covered."
            if apart <= AGREEMENT_MM
            else f"Registered rigidly to the reference: {shift:.1f} mm, {rotation:.1f} degrees; a second start ended "
            f"{apart:.1f} mm away with clearly lower similarity; {100 * coverage:.0f} % of the brain covered."
        )
    return Registration(
        transform=transform,
        translation_mm=0.0 if aligned else shift,
        rotation_deg=0.0 if aligned else rotation,
        similarity=value,
        coverage=coverage,
        accepted=not reasons,
        sentence=sentence,
    )
