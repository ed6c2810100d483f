"""The synthesis of one revision, from files to files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_rules.derive import LEVEL_PERCENT, Maker, SyntheticVolume
from dicom_rules.errors import GeometryError
from dicom_rules.geometry import Volume
from medk2n_node.synthesis.files import Write, write_objects
from medk2n_node.synthesis.job import Job, MadeObject, Product, Progress, Refused, Target
from medk2n_node.synthesis.ladder import Rung, Wanted, climb_down, ways_down
from medk2n_node.synthesis.objects import result_objects
from medk2n_node.synthesis.sources import read_headers, read_volume

if TYPE_CHECKING:
    from model import Bundle, Outputs, TargetResult

Synthesize = Callable[..., Any]
"""Called as `model.synthesize` is."""


def run(
    job: Job,
    *,
    write: Write,
    bundle: Bundle,
    maker: Maker,
    device: str = "auto",
    batch_slices: int = 8,
    precision: Wanted = "auto",
    deterministic: bool | None = None,
    site: str = "",
    progress: Progress | None = None,
    synthesize: Synthesize | None = None,
) -> Product:
    """Make every target of the job and write the objects.

    Args:
        job: what to make of which files.
        write: puts a file below the results folder, durably (`Store.write_result`).
        bundle: the weights in force.
        maker: what the header says about the node and the model.
        device: auto, cpu or cuda[:n].
        batch_slices: slices given to the network at once; where memory runs out, less is tried (`ladder`).
        precision: auto, fp32, or bf16 on a GPU.
        deterministic: two runs give the same bits or raise; None: on a CPU.
        site: whose images these are, of the model's sites; "" = unknown.
        progress: told the stage and its share done; may raise to end the run.
        synthesize: the function to call in place of `model.synthesize`.

    Raises:
        Refused: the images or the model give a reason not to make anything.
        ConfigError: a precision that the device does not compute in.
        OutOfMemory: not even one slice at a time on the CPU fits.
    """
    report = progress or _silent
    ways = ways_down(device, precision, batch_slices)
    seconds: dict[str, float] = {}
    needed = tuple(dict.fromkeys(source for target in job.targets for source in target.sources))
    volumes: dict[str, Volume] = {}
    headers: dict[str, list[Dataset]] = {}
    with _timed(seconds, "read"):
        for number, contrast in enumerate(needed):
            report("read", number / len(needed))
            volumes[contrast], headers[contrast] = _read(contrast, job.series[contrast])

    objects: list[MadeObject] = []
    targets: dict[str, Mapping[str, Any]] = {}
    registrations: dict[str, Mapping[str, Any]] = {}
    notes = [f"{contrast}: {note}" for contrast, volume in volumes.items() for note in volume.notes]
    for (sources, reference), group in _groups(job):
        outputs = _synthesize(
            {contrast: volumes[contrast] for contrast in sources},
            [target.contrast for target in group],
            reference=reference,
            bundle=bundle,
            ways=ways,
            deterministic=deterministic,
            site=site,
            progress=report,
            synthesize=synthesize,
        )
        for stage, spent in outputs.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + float(spent)
        registrations.update({name: _registration(one) for name, one in outputs.registrations.items()})
        notes.extend(outputs.dropped.values())
        for target in group:
            result = outputs.targets[target.contrast]
            targets[target.contrast] = _target_report(target, result, outputs)
            if result.abstained:
                continue
            report("encode", 0.0)
            with _timed(seconds, "encode"):
                made = result_objects(
                    _synthetic(target, result, outputs, reference, watermark=job.forms.watermark),
                    result.uncertainty,
                    target=target,
                    volumes={contrast: volumes[contrast] for contrast in sources},
                    headers={contrast: headers[contrast] for contrast in sources},
                    summary=targets[target.contrast],
                    maker=maker,
                    job=job,
                )
            report("write", 0.0)
            with _timed(seconds, "write"):
                for kind, datasets in made.items():
                    objects.extend(write_objects(write, kind, target.contrast, datasets))

    if not objects:
        reasons = [reason for one in targets.values() for reason in one["reasons"]]
        raise Refused(
            code="abstained",
            subject=f"study {job.study_uid}",
            reason="; ".join(reasons) or "the model made none of the targets",
            cure="Look at the source series; a later revision of the study is tried again",
            targets=targets,
        )
    return Product(
        objects=tuple(objects),
        targets=targets,
        registrations=registrations,
        seconds={stage: round(spent, 3) for stage, spent in seconds.items()},
        notes=tuple(dict.fromkeys(notes)),
    )


def _read(contrast: str, paths: Sequence[Path]) -> tuple[Volume, list[Dataset]]:
    try:
        return read_volume(paths, contrast), read_headers(paths, contrast)
    except GeometryError as error:
        raise Refused(
            code=error.code,
            subject=f"the {contrast} series: {error.subject}",
            reason=error.reason,
            cure=error.cure,
        ) from error


def _synthesize(
    volumes: Mapping[str, Volume],
    targets: Sequence[str],
    *,
    reference: str,
    bundle: Bundle,
    ways: list[Rung],
    deterministic: bool | None,
    site: str,
    progress: Progress,
    synthesize: Synthesize | None,
) -> Outputs:
    """Run the network; a reason it gives not to becomes `Refused`."""
    import model

    call = model.synthesize if synthesize is None else synthesize
    images = {
        contrast: model.Image(
            array=volume.array, affine=volume.affine, frame_of_reference=volume.frame_of_reference_uid or None
        )
        for contrast, volume in volumes.items()
    }

    def attempt(rung: Rung) -> Outputs:
        outputs: Outputs = call(
            images, targets, bundle, reference=reference, progress=progress, device=rung.device,
            batch_slices=rung.batch_slices, precision=rung.precision, deterministic=deterministic, site=site or None,
        )  # fmt: skip
        return outputs

    try:
        return climb_down(attempt, ways)
    except (model.ImagingError, model.RequestError) as error:
        raise Refused(code=error.code, subject=error.subject, reason=error.reason, cure=error.cure) from error


def _groups(job: Job) -> list[tuple[tuple[tuple[str, ...], str], list[Target]]]:
    """Targets made of the same sources on the same grid go through the network together.

    The grid is the plan's reference, or the key source of a target that does not use the reference.
    """
    groups: dict[tuple[tuple[str, ...], str], list[Target]] = {}
    for target in job.targets:
        reference = job.reference if job.reference in target.sources else target.key
        groups.setdefault((target.sources, reference), []).append(target)
    return list(groups.items())


def _synthetic(
    target: Target, result: TargetResult, outputs: Outputs, reference: str, *, watermark: bool
) -> SyntheticVolume:
    # A source that could not be aligned was dropped, and is no source of the result.
    used = tuple(source for source in target.sources if source not in outputs.dropped)
    return SyntheticVolume(
        target=target.contrast,
        array=result.array,
        scale=float(result.scale),
        window=result.window,
        sources=used,
        key=outputs.keys[target.contrast],
        reference=reference,
        contributions=dict(result.contributions),
        resampled=tuple(source for source in used if source != reference),
        reasons=(*target.reasons, *result.reasons),
        neighbour_slices=outputs.neighbour_slices,
        alignment={
            source: _matrix(outputs.registrations[source].transform)
            for source in used
            if source in outputs.registrations
        },
        supersedes=target.supersedes,
        watermark=watermark,
    )


def _matrix(transform: Any) -> npt.NDArray[np.float64]:
    """A registration (reference to source, LPS mm) as the 4x4 matrix from the source's space to the reference's."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    forward = np.eye(4)
    for axis, unit in enumerate(np.eye(3)):
        forward[:3, axis] = np.array(transform.TransformPoint(tuple(unit))) - origin
    forward[:3, 3] = origin
    inverse: npt.NDArray[np.float64] = np.linalg.inv(forward).astype(np.float64)
    return inverse


def _target_report(target: Target, result: TargetResult, outputs: Outputs) -> dict[str, Any]:
    inside = result.uncertainty[result.uncertainty > 0]
    half_width = float(inside.mean(dtype=np.float64)) if inside.size else 0.0
    return {
        "key": outputs.keys[target.contrast],
        "sources": list(target.sources),
        "scale": float(result.scale),
        "contributions": {name: float(weight) for name, weight in result.contributions.items()},
        "quality": {name: float(value) for name, value in result.quality.items()},
        "interval": {
            "percent": LEVEL_PERCENT,
            "half_width": round(half_width / max(float(result.scale), 1.0), 4),
            "calibrated": bool(result.calibrated),
            "patients": int(result.calibration_patients),
        },
        "abstained": bool(result.abstained),
        "reasons": list(result.reasons),
        "series_number": target.series_number,
    }


def _registration(one: Any) -> dict[str, Any]:
    return {
        "translation_mm": float(one.translation_mm),
        "rotation_deg": float(one.rotation_deg),
        "similarity": float(one.similarity),
        "accepted": bool(one.accepted),
        "sentence": str(one.sentence),
    }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - start


def _silent(stage: str, share: float) -> None:
    """No one listens to the progress."""
