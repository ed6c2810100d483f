"""Slices in the order of space, or the place where they do not form one regular stack.

Order follows from the projection of each position on the normal of the plane; InstanceNumber is never looked
at, for vendors count it by time, by echo or from either end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_rules.errors import GeometryError
from dicom_rules.geometry.frames import Frame, Vector

SPACING_TOLERANCE = 0.01
"""Neighbouring distances may differ by 1 % of the spacing; more is a gap or an overlap."""

ROUNDING_MM = 0.005
"""Positions are decimal strings; some vendors keep two decimals."""

DIRECTION_TOLERANCE = 1e-3
"""Largest difference of a direction cosine within one stack, about 0.06 degrees."""

MAX_SPACING_MM = 15.0
"""Clinical brain series lie at most 10 mm apart, gap included; beyond this the slices sample no volume."""

WHOLE_SLICE = 1.75
"""From this multiple of the usual distance on, a whole slice is missing and the series is refused."""

MIN_BLOCK = 3
"""Slices on either side of a break; fewer are stray slices, not a block."""

MAX_OFF_GRID = 1 / 3
"""Largest distance of a slice from the even grid, in spacings: finer than the slices themselves resolve."""

MOST_POSITIONS_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices ascending along the normal, with origin and step (mm) of the even grid on which they lie."""

    frames: tuple[Frame, ...]
    origin: Vector
    step: Vector
    notes: tuple[str, ...]


def stack_of(frames: Sequence[Frame], *, same_image: Callable[[Frame, Frame], bool]) -> Stack:
    """Sort and check the slices; `same_image` says whether two at one position are copies of each other.

    Raises GeometryError with code one_slice, mixed_orientation, inconsistent, duplicate, gap, slabs,
    irregular, tilted or sparse, naming the instance at fault and where it lies in the patient, in mm.
    """
    if not frames:
        raise GeometryError(
            code="one_slice",
            subject="series",
            reason="it holds no slice",
            cure="Send the images of the series",
        )
    _same_grid(frames)
    ordered, notes = _without_copies(_by_position(frames), same_image)
    if len(ordered) < 2:
        raise GeometryError(
            code="one_slice",
            subject=_named(ordered[0]),
            reason="it is the only slice of the series, and one slice is no volume",
            cure="Send the whole series",
        )
    origin, step, uneven = _regular_step(ordered)
    notes = (*notes, *uneven, *_thickness_note(ordered, step))
    return Stack(frames=tuple(ordered), origin=origin, step=step, notes=notes)


def _same_grid(frames: Sequence[Frame]) -> None:
    first = frames[0]
    for frame in frames[1:]:
        turned = max(
            float(np.abs(frame.row_direction - first.row_direction).max()),
            float(np.abs(frame.column_direction - first.column_direction).max()),
        )
        if turned > DIRECTION_TOLERANCE:
            raise GeometryError(
                code="mixed_orientation",
                subject=_named(frame),
                reason=f"its orientation differs from that of {first.name}, so the series is not one stack",
                cure="Send each plane as a series of its own; a three-plane localizer is no volume",
            )
        if (frame.rows, frame.columns) != (first.rows, first.columns):
            raise GeometryError(
                code="inconsistent",
                subject=_named(frame),
                reason=f"it has {frame.rows}x{frame.columns} pixels where {first.name} has "
                f"{first.rows}x{first.columns}",
                cure="Send the images of one size as a series of their own",
            )
        spacing, expected = (
            (frame.row_spacing, frame.column_spacing),
            (first.row_spacing, first.column_spacing),
        )
        if not np.allclose(spacing, expected, rtol=1e-3, atol=0):
            raise GeometryError(
                code="inconsistent",
                subject=_named(frame),
                reason=f"its PixelSpacing {_pair(spacing)} mm differs from {_pair(expected)} mm "
                f"of {first.name}",
                cure="Send the images of one field of view as a series of their own",
            )


def _by_position(frames: Sequence[Frame]) -> list[tuple[float, Frame]]:
    normal = frames[0].normal
    placed = [(float(frame.position @ normal), frame) for frame in frames]
    # The UID breaks ties, so that the order never depends on the order of arrival.
    return sorted(
        placed, key=lambda one: (round(one[0], 3), one[1].ref.sop_instance_uid, one[1].ref.frame or 0)
    )


def _without_copies(
    placed: Sequence[tuple[float, Frame]], same_image: Callable[[Frame, Frame], bool]
) -> tuple[list[Frame], tuple[str, ...]]:
    kept: list[tuple[float, Frame]] = []
    notes: list[str] = []
    for along, frame in placed:
        if kept and along - kept[-1][0] < ROUNDING_MM:
            twin = kept[-1][1]
            if not same_image(twin, frame):
                raise GeometryError(
                    code="duplicate",
                    subject=f"position {_place(frame.position)}",
                    reason=f"{twin.name} and {frame.name} lie at the same place with different content "
                    "(several echoes, b-values, time points or a repeated slice)",
                    cure="Send one image per position, each echo or b-value as a series of its own",
                )
            notes.append(f"{frame.name} is a copy of {twin.name} and was left out.")
            continue
        kept.append((along, frame))
    return [frame for _, frame in kept], tuple(notes)


def _regular_step(ordered: Sequence[Frame]) -> tuple[Vector, Vector, tuple[str, ...]]:
    """Origin and step of the even grid through the slices, and what there is to say about it."""
    positions = np.array([frame.position for frame in ordered])
    normal = ordered[0].normal
    along = positions @ normal
    distances = np.diff(along)
    usual = float(np.median(distances))
    tolerance = max(SPACING_TOLERANCE * usual, ROUNDING_MM)
    uneven = np.flatnonzero(np.abs(distances - usual) > tolerance)
    index = np.arange(len(ordered))
    notes: tuple[str, ...] = ()
    if len(uneven):
        centred = index - index.mean()
        step: Vector = (centred @ positions) / float(centred @ centred)
        origin: Vector = positions.mean(axis=0) - index.mean() * step
        off = float(np.abs((positions - origin - index[:, None] * step) @ normal).max())
        if not _one_short_break(distances, uneven, usual) or off > MAX_OFF_GRID * usual:
            _refuse_irregular(ordered, distances)
        at = int(uneven[0])
        notes = (
            f"The slices are {usual:.2f} mm apart except for one step of {distances[at]:.2f} mm between "
            f"{ordered[at].name} and {ordered[at + 1].name}; no whole slice is missing, and the even grid "
            f"used for registration is off by at most {off:.2f} mm.",
        )
    else:
        step = (positions[-1] - positions[0]) / (len(ordered) - 1)
        origin = positions[0]
        residual = np.abs((positions - origin - index[:, None] * step) @ normal)
        if float(residual.max()) > MAX_OFF_GRID * usual:
            # Each step is near the usual one, but the small differences add up over the stack.
            _refuse_irregular(ordered, distances)
        if float(residual.max()) > tolerance:
            notes = (
                f"The steps between slices drift: {ordered[int(residual.argmax())].name} lies "
                f"{residual.max():.2f} mm off the even grid used for registration.",
            )
    _not_tilted(ordered, positions, origin, step, tolerance)
    if usual > MAX_SPACING_MM:
        raise GeometryError(
            code="sparse",
            subject=f"series of {len(ordered)} slices",
            reason=f"the slices lie {usual:.1f} mm apart, which samples no volume "
            f"(at most {MAX_SPACING_MM:.0f} mm)",
            cure="Send the whole series; most of its slices seem to be missing",
        )
    return origin, step, notes


def _one_short_break(distances: Vector, uneven: npt.NDArray[np.intp], usual: float) -> bool:
    """Two regular blocks with one longer step between them, too short for a whole slice to be missing."""
    at = int(uneven[0])
    inside = MIN_BLOCK - 1 <= at <= len(distances) - MIN_BLOCK
    return len(uneven) == 1 and inside and usual < distances[at] < WHOLE_SLICE * usual


def _not_tilted(
    ordered: Sequence[Frame], positions: Vector, origin: Vector, step: Vector, tolerance: float
) -> None:
    normal = ordered[0].normal
    residual = positions - origin - np.arange(len(ordered))[:, None] * step
    aside = np.linalg.norm(residual - np.outer(residual @ normal, normal), axis=1)
    drift = float(np.linalg.norm(step - (step @ normal) * normal))
    if max(drift, float(aside.max())) > tolerance:
        worst = ordered[int(aside.argmax())] if float(aside.max()) > tolerance else ordered[-1]
        raise GeometryError(
            code="tilted",
            subject=_named(worst),
            reason="the slices are not stacked along their normal "
            f"(sideways by {max(drift, float(aside.max())):.3f} mm)",
            cure="Send the series as acquired, or reformat it to a stack at right angles",
        )


def _refuse_irregular(ordered: Sequence[Frame], distances: Vector) -> None:
    """Raise "gap" where whole slices are missing from a regular stack, else "slabs" or "irregular"."""
    smallest = float(distances.min())
    steps = np.rint(distances / smallest)
    unit = float((distances / steps).mean())
    tolerance = max(SPACING_TOLERANCE * unit, ROUNDING_MM)
    normal = ordered[0].normal
    fits = np.abs(distances - steps * unit).max() <= tolerance * steps.max()
    if not fits or not (steps > 1).any() or np.count_nonzero(steps == 1) < len(steps) / 2:
        _refuse_slabs(ordered, distances)
        at = int(np.abs(distances - np.median(distances)).argmax())
        raise GeometryError(
            code="irregular",
            subject=f"between {_named(ordered[at])} and {_named(ordered[at + 1])}",
            reason=f"the distance is {distances[at]:.3f} mm where {np.median(distances):.3f} mm is usual, "
            "so the slices are not evenly spaced",
            cure="Send each slab as a series of its own, evenly spaced within 1 %",
        )
    missing = [
        ordered[at].position + inner * unit * normal
        for at, count in enumerate(steps)
        for inner in range(1, int(count))
    ]
    at = int(np.argmax(steps > 1))
    named = ", ".join(_place(position) for position in missing[:MOST_POSITIONS_NAMED])
    more = f" and {len(missing) - MOST_POSITIONS_NAMED} more" if len(missing) > MOST_POSITIONS_NAMED else ""
    plural = "slice is" if len(missing) == 1 else "slices are"
    raise GeometryError(
        code="gap",
        subject=f"position {named}{more}",
        reason=f"{len(missing)} {plural} missing, the first between {ordered[at].name} and "
        f"{ordered[at + 1].name} ({distances[at]:.2f} mm apart, spacing {unit:.2f} mm)",
        cure="Send the missing slices; a gap is never filled",
    )


def _refuse_slabs(ordered: Sequence[Frame], distances: Vector) -> None:
    """Raise "slabs" where the slices form regular blocks of one spacing that do not continue each other."""
    usual = float(np.median(distances))
    breaks = np.flatnonzero(np.abs(distances - usual) > max(SPACING_TOLERANCE * usual, ROUNDING_MM))
    edges = [0, *(int(at) + 1 for at in breaks), len(ordered)]
    blocks = [ordered[first:last] for first, last in itertools.pairwise(edges)]
    if len(blocks) < 2 or min(len(block) for block in blocks) < MIN_BLOCK:
        return
    extents = "; ".join(
        f"{len(block)} slices from {_place(block[0].position)} to {_place(block[-1].position)}"
        for block in blocks[:MOST_POSITIONS_NAMED]
    )
    raise GeometryError(
        code="slabs",
        subject=f"between {_named(blocks[0][-1])} and {_named(blocks[1][0])}",
        reason=f"the series consists of {len(blocks)} slabs that do not continue each other ({extents})",
        cure="Send each slab as a series of its own",
    )


def _thickness_note(ordered: Sequence[Frame], step: Vector) -> tuple[str, ...]:
    stated = ordered[0].ref.slice_thickness
    spacing = float(np.linalg.norm(step))
    try:
        thickness = float(stated) if stated else None
    except ValueError:
        thickness = None
    if thickness is None or thickness <= 0 or abs(thickness - spacing) <= SPACING_TOLERANCE * spacing:
        return ()
    relation = "with gaps between them" if thickness < spacing else "overlapping"
    return (f"Slices of {thickness:g} mm lie {spacing:.2f} mm apart, {relation}; the spacing is used.",)


def _named(frame: Frame) -> str:
    return f"{frame.name} at {_place(frame.position)}"


def _pair(spacing: tuple[float, float]) -> str:
    return f"{spacing[0]:g} x {spacing[1]:g}"


def _place(position: Vector) -> str:
    return "(" + ", ".join(f"{one:.2f}" for one in position) + ") mm"
