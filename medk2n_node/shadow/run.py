"""One finished study in the shadow: every contrast that is there, made from the others, measured and forgotten."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_rules.errors import GeometryError
from dicom_rules.geometry import Volume
from medk2n_node.shadow.rows import ShadowRow, Tried
from medk2n_node.study import revisions
from medk2n_node.study.context import Context
from medk2n_node.synthesis import compare_volumes
from medk2n_node.synthesis.ladder import climb_down, ways_down
from medk2n_node.synthesis.sources import read_headers, read_volume

if TYPE_CHECKING:
    from model import Bundle, TargetResult

#: How a series was acquired; rounded, so that the last digit of a scanner's arithmetic makes no protocol of its own.
ACQUIRED = ("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "SliceThickness", "MRAcquisitionType")


class Interrupted(Exception):
    """A real study came; the shadow gives way and begins anew later."""


@dataclass(frozen=True, kw_only=True)
class _Study:
    revision: int
    series: Mapping[str, tuple[Path, ...]]


def chosen(study_uid: str, every: int) -> bool:
    """Whether a study is one in `every`: by the digest of its UID, so that all workers agree; 0 chooses none."""
    if every <= 0:
        return False
    return int.from_bytes(hashlib.sha256(study_uid.encode()).digest()[:8], "big") % every == 0


def shadow_study(
    context: Context, revision_id: int, *, wanted: Callable[[], bool] = lambda: True
) -> tuple[list[ShadowRow], Tried]:
    """Make every contrast of a study from its others, and measure it.

    Args:
        wanted: asked at every step of the network; False ends it.

    Raises:
        Interrupted: `wanted` said no. ModelUnusable: there are no weights.
    """
    study, now = _study(context, revision_id), context.clock()
    bundle = context.bundle()

    def tried(words: str) -> Tried:
        return Tried(at=now, revision=revision_id, words=words)

    usable = {c: files for c, files in study.series.items() if c in bundle.contrasts}
    if len(usable) < 2:
        return [], tried("fewer than two contrasts are there: nothing can be made from anything")
    try:
        volumes = {c: read_volume(files, c) for c, files in usable.items()}
        headers = {c: read_headers(files, c)[0] for c, files in usable.items()}
    except GeometryError as error:
        return [], tried(f"{error.subject}: {error.reason}")
    facts: dict[str, Any] = {
        "at": now, "revision": revision_id, "model": bundle.digest, "protocol": protocol_digest(headers),
        **_scanner(next(iter(headers.values()))),
    }  # fmt: skip
    rows = [_row(context, bundle, volumes, target, facts, wanted) for target in volumes]
    return rows, tried(f"{len(rows)} contrasts were made from the others")


def protocol_digest(headers: Mapping[str, Dataset]) -> str:
    """Twelve hexadecimal digits that stand for how all series of a study were acquired; no name goes in."""
    said = {
        contrast: {name: _rounded(header.get(name)) for name in ACQUIRED}
        for contrast, header in sorted(headers.items())
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def _rounded(value: object) -> str:
    try:
        return f"{float(str(value)):.2g}"
    except ValueError:
        return str(value or "")


def _scanner(header: Dataset) -> dict[str, Any]:
    maker, model = (
        str(header.get(name, "") or "").strip() for name in ("Manufacturer", "ManufacturerModelName")
    )
    try:
        field = round(float(header.get("MagneticFieldStrength")), 2)
    except (TypeError, ValueError):
        field = None
    return {"scanner": f"{maker} {model}".strip() or "not stated", "field_t": field}


def _study(context: Context, revision_id: int) -> _Study:
    with context.store.reading() as session:
        revision = revisions.get(session, revision_id)
        present = dict((revision.plan or {}).get("present", {}))
        paths: dict[str, list[Path]] = {}
        for row in revisions.instances(session, revision_id):
            paths.setdefault(row.series_uid, []).append(context.store.root / row.path)
    series = {contrast: tuple(paths[uid]) for contrast, uid in present.items() if uid in paths}
    return _Study(revision=revision_id, series=series)


def _row(
    context: Context,
    bundle: Bundle,
    volumes: Mapping[str, Volume],
    target: str,
    facts: Mapping[str, Any],
    wanted: Callable[[], bool],
) -> ShadowRow:
    import model

    sources = tuple(c for c in volumes if c != target)
    nothing: dict[str, Any] = {"psnr_db": None, "error": None, "expected": None, "abstained": False}
    try:
        result, reference = _made(context, bundle, volumes, target, sources, wanted)
    except (model.ImagingError, model.RequestError) as error:
        words = f"{error.subject}: {error.reason}"
        return ShadowRow(**facts, target=target, sources=sources, words=words, **nothing)
    made = replace(volumes[reference], array=result.array.astype(np.float32))
    measured = compare_volumes(made, volumes[target], contrast=target, scale=float(result.scale))
    return ShadowRow(
        **facts, target=target, sources=sources, psnr_db=measured.psnr_db, error=measured.error,
        expected=result.quality.get("expected_mae"), abstained=bool(result.abstained),
        words="" if measured.psnr_db is not None else measured.words,
    )  # fmt: skip


def _made(
    context: Context,
    bundle: Bundle,
    volumes: Mapping[str, Volume],
    target: str,
    sources: tuple[str, ...],
    wanted: Callable[[], bool],
) -> tuple[TargetResult, str]:
    """The target on the grid of its best source; one slice at a time goes through where memory is short."""
    import model

    settings = context.config.synthesis
    call = model.synthesize if context.synthesize is None else context.synthesize
    reference = max(
        sources, key=lambda s: (bundle.key_preference[s].get(target, 0.0), -bundle.contrasts.index(s))
    )
    images = {
        c: model.Image(
            array=volumes[c].array, affine=volumes[c].affine,
            frame_of_reference=volumes[c].frame_of_reference_uid or None,
        )
        for c in sources
    }  # fmt: skip

    def give_way(stage: str, share: float) -> None:
        if not wanted():
            raise Interrupted(stage)

    outputs: Any = climb_down(
        lambda rung: call(
            images, [target], bundle, reference=reference, progress=give_way, device=rung.device,
            batch_slices=rung.batch_slices, precision=rung.precision, site=settings.site or None,
            deterministic={"on": True, "off": False}.get(settings.deterministic),
        ),
        ways_down(settings.device, settings.precision, settings.batch_slices),
    )  # fmt: skip
    return outputs.targets[target], reference
