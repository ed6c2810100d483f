"""What the headers of one stack of images state, classic and enhanced brought to one form.

Classic MR keeps these attributes at the top of each object (MR Image module, PS3.3 C.8.3.1); enhanced MR spreads
them over shared and per-frame functional groups (PS3.3 C.8.13.5). Nothing is decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_rules.classify.private import b_value_of, directionality_of
from dicom_rules.classify.reconstruction import deep_learning
from dicom_rules.classify.vendors import SequenceRow, vendor_tables
from dicom_rules.reading import distinct, first_item, items, number, numbers, text, texts

LARMOR_MHZ_PER_TESLA = 42.577
GAUSS_PER_TESLA = 10_000
HIGHEST_FIELD_T = 100
"""GE states the field of old scanners in gauss (15000)."""

HIGHEST_VALUE = 1e6
"""No time (ms), length (mm) or angle of a scan reaches this."""

ECHO_STEP_MS = 0.1
"""Echo times closer than this are one echo, written with different rounding."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What differs between the images (or frames) of one series."""

    owner: int
    frame: int | None
    """Frame number (from 1) in a multi-frame object; None for an image of its own."""
    echo_time: float | None
    b_value: float | None
    directional: bool
    isotropic: bool
    image_type: tuple[str, ...]
    component: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]

    @property
    def stack_key(self) -> tuple[object, ...]:
        """Images that differ in this belong to different stacks of a mixed series."""
        echo = None if self.echo_time is None else round(self.echo_time / ECHO_STEP_MS)
        b_value = None if self.b_value is None else round(self.b_value, -1)
        return echo, b_value, self.component, self.image_type


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What the whole series holds besides the stack in question."""

    echoes: int = 1
    weighted_b_values: int = 0
    """How many different b-values above 0."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One stack; times in ms, lengths in mm, field in tesla. None or empty: not stated."""

    header: Dataset
    samples: tuple[Sample, ...]
    manufacturer: str
    field_t: float | None
    image_type: tuple[str, ...]
    roles: frozenset[str]
    component: str
    acquisition_contrast: str
    scanning: frozenset[str]
    variant: frozenset[str]
    options: frozenset[str]
    three_d: bool | None
    echo_times: tuple[float, ...]
    repetition_time: float | None
    inversion_times: tuple[float, ...]
    inversion_stated: bool
    flip_angle: float | None
    echo_train: float | None
    bandwidth: float | None
    epi_factor: float | None
    echo_planar: bool
    echo_pulse: str
    sequence_name: str
    sequence: SequenceRow | None
    b_values: tuple[float, ...]
    directional: bool
    isotropic: bool
    in_plane_mm: tuple[float, ...]
    thickness_mm: float | None
    rows: int
    time_points: int
    """Number of Temporal Positions (0020,0105); 1 where it is not stated."""
    arterial_spin_labelling: bool
    flow_encoded: bool
    deep_learning: str = ""
    """The sentence that names a vendor's deep-learning reconstruction; empty where there is none."""

    @property
    def echo_time(self) -> float | None:
        """The echo time of the stack, where it is one."""
        return self.echo_times[0] if self.echo_times else None

    @property
    def images_at_one_place(self) -> int:
        """How many images of the stack lie at the most frequented position; 0 where positions are not stated."""
        places = Counter(sample.position for sample in self.samples if sample.position)
        return max(places.values(), default=0)

    @property
    def inversion_time(self) -> float | None:
        """The inversion time, where it is a real one (Philips writes 0 for none)."""
        return next((time for time in self.inversion_times if time > 1), None)


def samples_of(headers: Sequence[Dataset]) -> tuple[Sample, ...]:
    """One sample per image or frame, in the order given."""
    return tuple(sample for owner, header in enumerate(headers) for sample in _samples(owner, header))


def facts_of(headers: Sequence[Dataset], samples: Sequence[Sample]) -> Facts:
    """The facts of the stack that these samples form; the first object speaks for what does not differ."""
    header = headers[samples[0].owner]
    places = _places(header)
    tables = vendor_tables()
    image_type = samples[0].image_type
    names = [text(place, keyword) for place in places for keyword in ("SequenceName", "PulseSequenceName")]
    names += [text(header, Tag(tag)) for tag in tables.sequence_name_tags]
    names = [name for name in distinct(names) if name]
    rows = [row for row in map(tables.sequence, names) if row is not None]
    field = _positive(_number(places, "MagneticFieldStrength"))
    frequency = _positive(_number(places, "ImagingFrequency", "TransmitterFrequency"))
    if field is not None and field > HIGHEST_FIELD_T:
        field /= GAUSS_PER_TESLA
    elif not field and frequency:
        field = frequency / LARMOR_MHZ_PER_TESLA
    acquisition_type = _text(places, "MRAcquisitionType").upper()
    groups = _groups(header)
    return Facts(
        header=header,
        samples=tuple(samples),
        manufacturer=_text(places, "Manufacturer").upper(),
        field_t=field or None,
        image_type=image_type,
        roles=frozenset(role for word in image_type[2:] for role in tables.roles(word)),
        component=samples[0].component,
        acquisition_contrast=_text(places, "AcquisitionContrast").upper(),
        scanning=_codes(places, "ScanningSequence"),
        variant=_codes(places, "SequenceVariant"),
        options=frozenset(word.upper() for word in _texts(places, "ScanOptions") if word),
        three_d={"3D": True, "2D": False}.get(acquisition_type),
        echo_times=tuple(sorted({s.echo_time for s in samples if s.echo_time is not None})),
        repetition_time=_positive(_number(places, "RepetitionTime")),
        inversion_times=_plausible(_numbers(places, "InversionTime") or _numbers(places, "InversionTimes")),
        inversion_stated=_text(places, "InversionRecovery").upper() == "YES",
        flip_angle=_positive(_number(places, "FlipAngle")),
        echo_train=_number(places, "EchoTrainLength"),
        bandwidth=_number(places, "PixelBandwidth"),
        epi_factor=number(header, Tag(0x20011013)),
        echo_planar=_text(places, "EchoPlanarPulseSequence").upper() == "YES",
        echo_pulse=_text(places, "EchoPulseSequence").upper(),
        sequence_name=names[0] if names else "",
        # A row that names a kind or a preparation says more than one that names a family.
        sequence=next((row for row in rows if row.kind or row.diffusion), rows[0] if rows else None),
        b_values=tuple(sorted({s.b_value for s in samples if s.b_value is not None})),
        directional=any(s.directional for s in samples),
        isotropic=any(s.isotropic for s in samples),
        in_plane_mm=_plausible(_numbers(places, "PixelSpacing")),
        thickness_mm=_positive(_number(places, "SliceThickness")),
        rows=int(number(header, "Rows") or 0),
        time_points=int(_positive(_number(places, "NumberOfTemporalPositions")) or 1),
        arterial_spin_labelling=any("MRArterialSpinLabelingSequence" in group for group in groups),
        flow_encoded=_text(places, "PhaseContrast").upper() == "YES"
        or any("MRVelocityEncodingSequence" in group for group in groups),
        deep_learning=deep_learning(
            places, image_type, [text(header, "SeriesDescription"), text(header, "ProtocolName")]
        ),
    )


def _samples(owner: int, header: Dataset) -> Iterator[Sample]:
    groups = items(header, "PerFrameFunctionalGroupsSequence")
    if not groups:
        yield _sample(owner, [header])
        return
    shared = first_item(header, "SharedFunctionalGroupsSequence") or Dataset()
    # What a frame does not say itself is said for all of them, and is read once.
    common = _sample(owner, [*_macros(shared), header])
    for number_of_frame, group in enumerate(groups, start=1):
        yield _sample(owner, _macros(group), common, number_of_frame)


def _sample(
    owner: int, places: Sequence[Dataset], common: Sample | None = None, frame: int | None = None
) -> Sample:
    directionality = _text(places, "DiffusionDirectionality").upper() or directionality_of(places)
    gradient = _numbers(places, "DiffusionGradientOrientation")
    directional = directionality in ("DIRECTIONAL", "BMATRIX") or any(abs(one) > 1e-6 for one in gradient)
    isotropic = directionality == "ISOTROPIC"
    frame_type = next((words for place in places if (words := texts(place, "FrameType"))), ())
    image_type = tuple(word.upper() for word in frame_type or _texts(places, "ImageType"))
    component = _component(places, image_type)
    echo_time = _positive(_number(places, "EffectiveEchoTime", "EchoTime"))
    b_value = _b_value(places)
    position, orientation = (
        _numbers(places, "ImagePositionPatient"),
        _numbers(places, "ImageOrientationPatient"),
    )
    if common is not None:
        directional, isotropic = directional or common.directional, isotropic or common.isotropic
        component = component or common.component
        image_type, orientation = image_type or common.image_type, orientation or common.orientation
        echo_time = common.echo_time if echo_time is None else echo_time
        b_value = common.b_value if b_value is None else b_value
    return Sample(
        owner=owner,
        frame=frame,
        echo_time=echo_time,
        b_value=b_value,
        directional=directional,
        isotropic=isotropic,
        image_type=image_type,
        component=component,
        position=position,
        orientation=orientation,
    )


def _component(places: Sequence[Dataset], image_type: Sequence[str]) -> str:
    """MAGNITUDE, PHASE (or any part that is no magnitude), or empty; by the attribute, else by ImageType."""
    stated = _text(places, "ComplexImageComponent").upper()
    if stated:
        return "MAGNITUDE" if stated == "MAGNITUDE" else "PHASE"
    roles = {role for word in image_type[2:] for role in vendor_tables().roles(word)}
    # Philips writes "M\FFE\M\FFE" and GE's tables know no letter; a magnitude beside another part is a magnitude.
    return "MAGNITUDE" if "magnitude" in roles else "PHASE" if "phase" in roles else ""


def _b_value(places: Sequence[Dataset]) -> float | None:
    stated = _number(places, "DiffusionBValue")
    return stated if stated is not None and stated >= 0 else b_value_of(places)


def _places(header: Dataset) -> list[Dataset]:
    """Where to look, nearest first: the first frame's groups, the shared groups, the object itself."""
    first, shared, whole = _groups(header)
    return [*_macros(first), *_macros(shared), whole]


def _groups(header: Dataset) -> tuple[Dataset, Dataset, Dataset]:
    first = first_item(header, "PerFrameFunctionalGroupsSequence")
    shared = first_item(header, "SharedFunctionalGroupsSequence")
    return first or Dataset(), shared or Dataset(), header


def _macros(group: Dataset) -> list[Dataset]:
    found: list[Dataset] = []
    for element in group:
        if element.VR == "SQ" and element.value:
            found.append(element.value[0])
            direction = first_item(element.value[0], "DiffusionGradientDirectionSequence")
            if direction is not None:
                found.append(direction)
    return found


def _text(places: Iterable[Dataset], keyword: str) -> str:
    return next((found for place in places if (found := text(place, keyword))), "")


def _texts(places: Iterable[Dataset], keyword: str) -> tuple[str, ...]:
    return next((found for place in places if any(found := texts(place, keyword))), ())


def _numbers(places: Iterable[Dataset], keyword: str) -> tuple[float, ...]:
    return next((found for place in places if (found := numbers(place, keyword))), ())


def _number(places: Sequence[Dataset], *keywords: str) -> float | None:
    for keyword in keywords:
        found = _numbers(places, keyword)
        if found:
            return found[0]
    return None


def _positive(value: float | None) -> float | None:
    """The value where it can be one of a scan at all; damaged headers hold -461359 and 1e300."""
    return value if value is not None and 0 < value < HIGHEST_VALUE else None


def _plausible(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(value for value in values if 0 <= value < HIGHEST_VALUE)


def _codes(places: Sequence[Dataset], keyword: str) -> frozenset[str]:
    """Code strings; converters join several by an underscore ("GR_IR"), which no defined term here contains."""
    words = (part for word in _texts(places, keyword) for part in word.upper().split("_"))
    return frozenset(word for word in words if word)
