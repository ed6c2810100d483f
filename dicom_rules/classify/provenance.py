"""Is it an acquired image at all? Asked before anything else: a computed image may look like any contrast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import uid
from pydicom.dataset import Dataset

from dicom_rules.classify.facts import Facts, Sample
from dicom_rules.classify.physics import family_of
from dicom_rules.derive import is_ours_or_synthetic
from dicom_rules.reading import distinct, text

MR_CLASSES = frozenset(
    {
        uid.MRImageStorage,
        uid.EnhancedMRImageStorage,
        uid.LegacyConvertedEnhancedMRImageStorage,
    }
)

_COMPUTING_SOFTWARE = re.compile(r"synthetic ?mr|symri|\bmagic\b", re.IGNORECASE)
"""SyMRI, and the form of it that GE sells as MAGiC; both sign their outputs with the software, not the contrast."""

PLANES_APART_COSINE = 0.985
"""Normals more than 10 degrees apart belong to different planes."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Why a series is no acquired image of its own; `contrast_stands` when it still shows a contrast."""

    kind: str
    reason: str
    sentence: str
    contrast_stands: bool = False


def not_an_mr_image(header: Dataset) -> Provenance | None:
    """Other modalities, reports, captures: anything that is no MR image object."""
    modality, sop_class = text(header, "Modality").upper(), text(header, "SOPClassUID")
    if sop_class == uid.MRSpectroscopyStorage:
        return Provenance(kind="other", reason="not_an_image", sentence="MR spectroscopy is no image")
    if sop_class and sop_class not in MR_CLASSES and modality == "MR":
        name = uid.UID(sop_class).name
        return Provenance(
            kind="derived", reason="derived", sentence=f"Stored as {name}, which is no MR image object"
        )
    if modality != "MR" and sop_class not in MR_CLASSES:
        return Provenance(
            kind="not_mr", reason="not_mr", sentence=f"Modality {modality or 'not stated'} is not MR"
        )
    return None


def synthetic(headers: Sequence[Dataset]) -> Provenance | None:
    """Our own output or anybody's: a synthetic image is never a source and never counts as present."""
    for header in headers:
        why = is_ours_or_synthetic(header)
        if why:
            return Provenance(kind="synthetic", reason="synthetic", sentence=why[:1].upper() + why[1:])
    for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions"):
        found = _COMPUTING_SOFTWARE.search(text(headers[0], keyword))
        if found:
            return Provenance(
                kind="synthetic",
                reason="synthetic",
                sentence=f"Made by {found.group(0)}: computed from maps, not acquired",
            )
    return None


def computed(facts: Facts) -> Provenance | None:
    """Maps, projections, reformats, phase, captures: by ImageType and its like. Diffusion maps are read elsewhere."""
    words, roles = "\\".join(facts.image_type), facts.roles
    stated = f"ImageType {words}"
    if facts.sequence is not None and facts.sequence.kind == "synthetic":
        return Provenance(
            kind="synthetic",
            reason="synthetic",
            sentence=f'Sequence "{facts.sequence_name}" is {facts.sequence.says}',
        )
    if "screenshot" in roles:
        return Provenance(kind="derived", reason="derived", sentence=f"{stated}: a screen capture or report")
    if "localizer" in roles:
        return Provenance(kind="localizer", reason="localizer", sentence=f"{stated}: a localizer")
    if "subtraction" in roles:
        return Provenance(kind="derived", reason="derived", sentence=f"{stated}: a subtraction")
    if "map" in roles:
        return Provenance(kind="derived", reason="derived", sentence=f"{stated}: a computed map")
    if facts.component == "PHASE":
        return Provenance(
            kind="fieldmap" if "B0" in facts.image_type else "other",
            reason="not_magnitude",
            sentence=f"{stated}: phase or another part of the complex signal, not its magnitude",
        )
    if "projection" in roles and family_of(facts) == "gradient_echo":
        return Provenance(
            kind="angiography", reason="derived", sentence=f"{stated}: a projection of a gradient echo volume"
        )
    if roles & {"projection", "reformat"}:
        return Provenance(
            kind="derived",
            reason="derived",
            sentence=f"{stated}: reformatted from another series, not acquired in this plane",
            contrast_stands=True,
        )
    if facts.image_type[:2] == ("DERIVED", "SECONDARY"):
        return Provenance(
            kind="derived",
            reason="derived",
            sentence=f"{stated}: derived after the examination",
            contrast_stands=True,
        )
    return None


def several_planes(samples: Sequence[Sample]) -> Provenance | None:
    """A series that holds several planes is a localizer; one volume has one plane."""
    normals: list[tuple[float, float, float]] = []
    for orientation in dict.fromkeys(sample.orientation for sample in samples):
        if len(orientation) != 6:
            continue
        a, b = orientation[:3], orientation[3:]
        normal = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
        if all(
            abs(sum(x * y for x, y in zip(normal, one, strict=True))) < PLANES_APART_COSINE for one in normals
        ):
            normals.append(normal)
    if len(normals) < 2:
        return None
    return Provenance(
        kind="localizer",
        reason="localizer",
        sentence=f"The images lie in {len(normals)} different planes: a localizer",
    )


def of_other_kind(facts: Facts) -> Provenance | None:
    """Acquired, but none of the contrasts: perfusion, functional, susceptibility, angiography, field maps."""
    words = "\\".join(facts.image_type)
    by_type = next(
        (
            kind
            for kind in ("perfusion", "functional", "susceptibility", "angiography")
            if kind in facts.roles
        ),
        None,
    )
    # GE writes EPI into ImageType of its gradient-echo EPI; elsewhere the word says nothing about the kind.
    if by_type:
        return Provenance(kind=by_type, reason="no_contrast", sentence=f"ImageType {words}: {by_type}")
    if facts.arterial_spin_labelling or facts.acquisition_contrast == "PERFUSION":
        return Provenance(
            kind="perfusion", reason="no_contrast", sentence="A perfusion acquisition is stated"
        )
    if facts.acquisition_contrast in ("SUSCEPTIBILITY", "T2_STAR", "T2STAR"):
        return Provenance(kind="susceptibility", reason="no_contrast", sentence="A T2* acquisition is stated")
    if facts.acquisition_contrast in ("FLOW_ENCODED", "TOF") or facts.flow_encoded or "TOF" in facts.variant:
        return Provenance(kind="angiography", reason="no_contrast", sentence="A flow acquisition is stated")
    if text(facts.header, "TimeOfFlightContrast").upper() == "YES":
        return Provenance(
            kind="angiography", reason="no_contrast", sentence="Time-of-flight contrast is stated"
        )
    if text(facts.header, "AngioFlag").upper() == "Y" and family_of(facts) == "gradient_echo":
        return Provenance(
            kind="angiography", reason="no_contrast", sentence="A gradient echo with the Angio Flag set"
        )
    if facts.sequence is not None and facts.sequence.kind:
        return Provenance(
            kind=facts.sequence.kind,
            reason="no_contrast",
            sentence=f'Sequence "{facts.sequence_name}" is {facts.sequence.says}',
        )
    return None


def series_words(headers: Sequence[Dataset]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the series itself, and those of its study and procedure."""
    header = headers[0]
    own = distinct(text(header, keyword) for keyword in ("SeriesDescription", "ProtocolName"))
    wider = [text(header, keyword) for keyword in ("StudyDescription", "RequestedProcedureDescription")]
    wider.append(text(header, "PerformedProcedureStepDescription"))
    return own, distinct(wider)
