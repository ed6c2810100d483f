"""A small study of two computed series, and the result that would be made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.derive import Maker, SyntheticVolume, encode
from dicom_rules.geometry import Volume, to_volume
from medk2n_node.demo.study import ScannedSeries, datasets

MADE_AT = datetime(2025, 3, 4, 15, 16, 17, 890, tzinfo=timezone(timedelta(hours=2)))
MAKER = Maker(
    node_version="0.1.0",
    model_name="medk2n-demonstration",
    model_version="1",
    model_digest="0123456789abcdef" * 4,
    ae_title="MEDK2N",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Sources by contrast, the reference's volume, and the result on its grid."""

    sources: Mapping[str, Sequence[Dataset]]
    reference: Volume
    result: SyntheticVolume
    maker: Maker = MAKER

    def encode(self, **changes: Any) -> list[Dataset]:
        arguments: dict[str, Any] = {
            "reference": self.reference,
            "reference_headers": self.sources[self.result.reference],
            "source_series": self.sources,
            "maker": self.maker,
            "revision": 1,
            "series_number": 9003,
            "made_at": MADE_AT,
        }
        return encode(changes.pop("result", self.result), **{**arguments, **changes})


def case_of(sources: Mapping[str, Sequence[Dataset]], *, reference: str, target: str = "FLAIR") -> Case:
    """A case whose result is the reference's own image, turned into 12 bits."""
    volume = to_volume(list(sources[reference]))
    top = max(float(volume.array.max()), 1.0)
    array = np.rint(np.clip(volume.array, 0, None) / top * 3000).astype(np.uint16)
    result = SyntheticVolume(
        target=target,
        array=array,
        scale=1234.5,
        window=(600.0, 1200.0),
        sources=tuple(sources),
        key=reference,
        reference=reference,
        contributions={contrast: 1 / len(sources) for contrast in sources},
        resampled=tuple(contrast for contrast in sources if contrast != reference),
        reasons=(f"{target} is missing and can be made from what is present",),
    )
    return Case(sources=sources, reference=volume, result=result)


def grid(
    *, spacing: tuple[float, float, float] = (1.0, 1.0, 5.0), origin: Sequence[float] = (-10, -10, 0)
) -> Any:
    """An axial affine in LPS mm."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def scanned(
    contrast: str, *, number: int, affine: Any = None, header: Mapping[str, Any] | None = None
) -> list[Dataset]:
    """A series of 6 slices of 20 x 16 random voxels."""
    values = np.random.default_rng(number).integers(1, 3000, (6, 20, 16)).astype(np.uint16)
    one = ScannedSeries(
        contrast=contrast, array=values, affine=grid() if affine is None else affine, header=header or {}
    )
    return datasets(one, number=number)


def make_case(header: Mapping[str, Any] | None = None, *, t1_affine: Any = None, **changes: Any) -> Case:
    """T1 and T2 (the reference); `header` goes onto every source object, `changes` onto the result."""
    sources = {
        "T1": scanned("T1", number=1, affine=t1_affine, header=header),
        "T2": scanned("T2", number=2, header=header),
    }
    case = case_of(sources, reference="T2")
    return replace(case, result=replace(case.result, **changes))


def received(dataset: Dataset, *edits: tuple[bytes, bytes]) -> Dataset:
    """The data set as it is read from a file in which bytes were replaced by as many others."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    raw = buffer.getvalue()
    for old, new in edits:
        assert old in raw and len(old) == len(new), (old, new)
        raw = raw.replace(old, new)
    return dcmread(BytesIO(raw))
