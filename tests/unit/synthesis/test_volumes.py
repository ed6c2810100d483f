"""A folder of one DICOM series as an image, also where the series holds more than one stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from medk2n_node.synthesis.volumes import read_image
from tests.unit.dicom_rules.slices import DWI_EPI, series


@pytest.mark.parametrize(("contrast", "count"), [("DWI", 6), ("ADC", 4), (None, 6)])
def test_of_a_mixed_series_the_stack_of_the_named_contrast_is_read(
    contrast: str | None, count: int, tmp_path: Path
) -> None:
    trace = series(attributes=DWI_EPI, count=6)
    adc = series(attributes={**DWI_EPI, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, count=4)
    for number, image in enumerate([*trace, *adc]):
        image.SeriesInstanceUID = trace[0].SeriesInstanceUID
        image.FrameOfReferenceUID = trace[0].FrameOfReferenceUID
        image.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    image, template = read_image(tmp_path, contrast)
    assert image.array.shape[0] == count
    assert template.shape[2] == count
