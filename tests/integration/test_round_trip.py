"""A voxel that goes in at one place in the patient comes out of the PACS at the same place with the same value.

The whole way of a result but the network: files, the node's reading, its working grid, its normalisation, the
inverse of both, its encoder, C-STORE by its sender to Orthanc and to DCMTK, and reading what these kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, EnhancedMRImageStorage, MRImageStorage
from scipy import ndimage
from scipy.spatial.transform import Rotation

import model
from dicom_rules.derive import Maker
from medk2n_node.demo.study import ScannedSeries, datasets
from medk2n_node.synthesis import Forms, Job, Target, run
from model.imaging import normalise, restore, working_grid
from tests import peers
from tests.enhanced import as_enhanced
from tests.integration.sending import deliver
from tests.unit.synthesis.fakes import FakeBundle

pytestmark = [pytest.mark.peer, pytest.mark.slow]

Array = npt.NDArray[np.float64]

# Rows and columns of the image in the room: the table along z, x to the right of somebody who looks into the bore.
PLANES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "oblique": tuple(Rotation.from_euler("xyz", (17, -11, 23), degrees=True).as_matrix().T[:2]),  # type: ignore[dict-item]
}
# How the patient lies: the axes of the patient (to the left, to the back, to the head) in the room.
POSITIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "HFS": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "HFP": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "FFS": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "FFP": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "HFDR": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "HFDL": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "FFDR": ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
    "FFDL": ((0, -1, 0), (-1, 0, 0), (0, 0, -1)),
}
FORMS = ("classic", "enhanced")
SHAPE = (5, 14, 12)
SPACING = (0.8, 0.9, 3.3)  # mm between columns, rows and slices
MAKER = Maker(
    node_version="1", model_name="identity", model_version="1", model_digest="ab" * 32, ae_title="MEDK2N"
)


@dataclass(frozen=True, kw_only=True)
class Given:
    """A source series and the truth about it: values (S, R, C), and [c, r, s, 1] to LPS mm."""

    values: Array
    affine: Array
    position: str
    instances: list[Dataset]


def affine_of(plane: str, position: str, spacing: Sequence[float] = SPACING) -> Array:
    """The patient's coordinates of an image that lies in the room as `plane` says."""
    to_patient = np.array(POSITIONS[position], dtype=float)
    row, column = (to_patient @ np.array(direction, dtype=float) for direction in PLANES[plane])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([row, column, np.cross(row, column)], axis=1) * spacing
    affine[:3, 3] = to_patient @ np.array([-31.237, -57.919, 12.345])
    return affine


def given(plane: str, position: str, form: str, *, key: str) -> Given:
    """Random voxels; what is enhanced is stored out of order and with a rescale of its own."""
    values = np.random.default_rng(len(key)).integers(1, 1900, SHAPE).astype(np.uint16)
    affine = affine_of(plane, position)
    classic = datasets(
        ScannedSeries(
            contrast="T1", array=values, affine=affine, header={"PatientPosition": position}, frame=key
        ),
        key=key,
    )
    if form == "classic":
        return Given(values=values.astype(float), affine=affine, position=position, instances=classic[::-1])
    one = as_enhanced(classic, order=(3, 0, 4, 1, 2), slope=2, intercept=7)
    one.ApplicableSafetyStandardAgency = "IEC"  # without it no result can be enhanced
    return Given(values=values * 2.0 + 7, affine=affine, position=position, instances=[one])


def identity(
    sources: Mapping[str, model.Image],
    targets: Sequence[str],
    bundle: FakeBundle,
    *,
    reference: str,
    **options: object,
) -> model.Outputs:
    """`model.synthesize` with its own steps before and after the network, and nothing in between."""
    grid = working_grid(sources[reference])
    values, record = normalise(
        grid.grid.array, np.ones(grid.grid.array.shape, bool), reference, subject=reference
    )
    stored = np.clip(np.rint(grid.back(restore(values, record))), 0, 65535).astype(np.uint16)
    results = {
        target: model.TargetResult(
            contrast=target, array=stored, scale=record.scale, uncertainty=np.zeros(stored.shape, np.float32),
            quality={}, contributions={reference: 1.0}, accepted={reference: True}, abstained=False,
            reasons=(), window=(1000.0, 2000.0),
        )
        for target in targets
    }  # fmt: skip
    return model.Outputs(
        model=bundle.digest, reference=reference, keys=dict.fromkeys(targets, reference), targets=results,
        seconds={}, registrations={},
    )  # fmt: skip


def through_the_node(source: Given, folder: Path) -> list[Dataset]:
    """Read, prepare, write back and encode; gives the objects that would be sent to a PACS that takes both forms."""
    folder.mkdir(parents=True)
    files = []
    for number, one in enumerate(source.instances):
        files.append(folder / f"{number}.dcm")
        one.save_as(files[-1], enforce_file_format=True)
    made: list[Dataset] = []

    def write(name: str, content: bytes) -> str:
        made.append(dcmread(BytesIO(content)))
        return hashlib.sha256(content).hexdigest()

    target = Target(
        contrast="T2", sources=("T1",), key="T1", reasons=(), series_number=9002, numbers={"enhanced": 9102}
    )
    run(
        Job(
            study_uid=str(source.instances[0].StudyInstanceUID), revision=1,
            made_at=datetime(2026, 3, 1, tzinfo=UTC), reference="T1", targets=(target,),
            series={"T1": tuple(files)}, forms=Forms(enhanced=True),
        ),
        write=write, bundle=cast("model.Bundle", FakeBundle()), maker=MAKER, device="cpu",
        synthesize=identity,
    )  # fmt: skip
    return made


CASES = {
    f"{plane}-{position}-{form}": (plane, position, form)
    for plane in PLANES
    for position in POSITIONS
    for form in FORMS
    # The position of the patient and the form meet nowhere in the code: enhanced in each plane and in each position.
    if form == "classic" or position == "HFS" or plane == "oblique"
}
Kept = dict[str, dict[str, list[Dataset]]]


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Given], Kept]:
    """Every case through the node and into both peers; what each peer kept, by study and then by peer."""
    folder = tmp_path_factory.mktemp("round-trip")
    sources = {name: given(*case, key=name) for name, case in CASES.items()}
    objects = [one for name, source in sources.items() for one in through_the_node(source, folder / name)]
    kept: Kept = {}
    with peers.orthanc(folder / "orthanc") as pacs, peers.storescp(folder / "archive") as archive:
        for peer in (pacs, archive):
            sent = deliver(
                folder / peer.ae_title, objects, host=peer.host, port=peer.port, called_ae=peer.ae_title
            )
            assert sent == []
        for one in pacs.get("/instances"):
            read = dcmread(BytesIO(pacs.file(one)))
            kept.setdefault(read.StudyInstanceUID, {}).setdefault("Orthanc", []).append(read)
        for file in archive.files():
            read = dcmread(file)
            kept.setdefault(read.StudyInstanceUID, {}).setdefault("DCMTK", []).append(read)
    return sources, kept


def corners(one: Dataset) -> Array:
    """Where the first voxels of the four corners lie, from the object's own words (PS3.3 C.7.6.2.1.1)."""
    position = np.array(one.ImagePositionPatient, dtype=float)
    row, column = np.array(one.ImageOrientationPatient, dtype=float).reshape(2, 3)
    down, across = map(float, one.PixelSpacing)
    return np.array(
        [
            position + row * across * c + column * down * r
            for r in (0, one.Rows - 1)
            for c in (0, one.Columns - 1)
        ]
    )


def corners_of(source: Given, index: int) -> Array:
    """Where they must lie."""
    rows, columns = source.values.shape[1:]
    return np.array([(source.affine @ [c, r, index, 1])[:3] for r in (0, rows - 1) for c in (0, columns - 1)])


@pytest.mark.parametrize("name", CASES)
def test_every_voxel_comes_back_from_the_pacs_at_its_place_with_its_value(
    name: str, passed: tuple[dict[str, Given], Kept]
) -> None:
    sources, kept = passed
    source = sources[name]
    by_peer = kept[source.instances[0].StudyInstanceUID]
    assert set(by_peer) == {"Orthanc", "DCMTK"}
    for held in by_peer.values():
        objects = [one for one in held if one.SOPClassUID == MRImageStorage]
        assert len(objects) == SHAPE[0]
        for one in objects:
            places = [np.abs(corners(one) - corners_of(source, index)).max() for index in range(SHAPE[0])]
            index = int(np.argmin(places))
            assert places[index] < 1e-3  # mm
            assert np.abs(one.pixel_array.astype(float) - source.values[index]).max() <= 1
            assert one.PatientPosition == source.position
            assert one.FrameOfReferenceUID == source.instances[0].FrameOfReferenceUID
        assert len({tuple(one.ImagePositionPatient) for one in objects}) == SHAPE[0]


def as_slices(whole: Dataset) -> list[tuple[Dataset, npt.NDArray[np.uint16]]]:
    """The frames of an enhanced object, each with its own position as a slice would state it."""
    (shared,) = whole.SharedFunctionalGroupsSequence
    slices = []
    for group, pixels in zip(whole.PerFrameFunctionalGroupsSequence, whole.pixel_array, strict=True):
        one = Dataset()
        one.Rows, one.Columns = whole.Rows, whole.Columns
        one.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
        one.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        one.ImagePositionPatient = group.PlanePositionSequence[0].ImagePositionPatient
        slices.append((one, pixels))
    return slices


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2] == "enhanced"])
def test_every_voxel_comes_back_in_the_enhanced_form_of_the_result(
    name: str, passed: tuple[dict[str, Given], Kept]
) -> None:
    sources, kept = passed
    source = sources[name]
    for held in kept[source.instances[0].StudyInstanceUID].values():
        (whole,) = (one for one in held if one.SOPClassUID == EnhancedMRImageStorage)
        assert whole.FrameOfReferenceUID == source.instances[0].FrameOfReferenceUID
        frames = as_slices(whole)
        assert len(frames) == SHAPE[0]
        seen = set()
        for one, pixels in frames:
            places = [np.abs(corners(one) - corners_of(source, index)).max() for index in range(SHAPE[0])]
            index = int(np.argmin(places))
            assert places[index] < 1e-3  # mm
            assert np.abs(pixels.astype(float) - source.values[index]).max() <= 1
            seen.add(index)
        assert seen == set(range(SHAPE[0]))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("pixel_mm", [0.45, 1.6])
def test_a_smooth_image_survives_the_working_grid_of_one_millimetre(
    plane: str, pixel_mm: float, tmp_path: Path
) -> None:
    shape = (6, 96, 80)
    noise = np.random.default_rng(7).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, (2, 5 / pixel_mm, 5 / pixel_mm), mode="wrap")
    values = np.rint(1000 + 300 * smooth / np.abs(smooth).max()).astype(np.uint16)
    affine = affine_of(plane, "HFS", (pixel_mm, pixel_mm, 5.0))
    key = f"{plane}-{pixel_mm}"
    series = datasets(ScannedSeries(contrast="T1", array=values, affine=affine, frame=key), key=key)
    source = Given(values=values.astype(float), affine=affine, position="HFS", instances=series)
    made = through_the_node(source, tmp_path / "source")
    difference = np.array([one.pixel_array for one in made], dtype=float) - source.values
    inside = difference[:, 8:-8, 8:-8]  # a cubic spline knows nothing of what lies beyond the rim
    assert np.abs(inside).max() <= 1
    for index, one in enumerate(made):
        assert np.abs(corners(one) - corners_of(source, index)).max() < 1e-3


def test_the_uids_of_two_frames_of_reference_are_never_mixed(
    passed: tuple[dict[str, Given], Kept],
) -> None:
    _, kept = passed
    frames = {UID(one.FrameOfReferenceUID) for by_peer in kept.values() for one in by_peer["DCMTK"]}
    assert len(frames) == len(CASES)
