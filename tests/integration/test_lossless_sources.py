"""A series in any lossless compression that the listener accepts becomes the same volume, voxel by voxel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_rules.geometry import to_volume
from medk2n_node.demo.study import ScannedSeries, write_study
from tests.peers import program

pytestmark = pytest.mark.peer

COMPRESSORS = {
    JPEGLossless: ("dcmcjpeg", "+el"),
    JPEGLosslessSV1: ("dcmcjpeg", "+e1"),
    JPEGLSLossless: ("dcmcjpls", "+el"),
    RLELossless: ("dcmcrle",),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Six slices of noise over a ramp: every bit of the 12 matters."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(0, 3500, 64 * 48, dtype=np.float32).reshape(1, 48, 64)
    array = np.clip(ramp + generator.integers(0, 500, (6, 48, 64)), 0, 4095).astype(np.uint16)
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    series = ScannedSeries(contrast="T2", array=array, affine=affine)
    return write_study(tmp_path_factory.mktemp("plain"), series).files["T2"]


@pytest.mark.parametrize("syntax", COMPRESSORS, ids=lambda uid: uid.keyword)
def test_a_compressed_series_becomes_the_same_volume(
    syntax: str, files: tuple[Path, ...], tmp_path: Path
) -> None:
    name, *options = COMPRESSORS[syntax]
    compressor = program(name)
    for path in files:
        subprocess.run([compressor, *options, path, tmp_path / path.name], check=True, capture_output=True)
    compressed = [dcmread(path) for path in sorted(tmp_path.iterdir())]
    assert {one.file_meta.TransferSyntaxUID for one in compressed} == {syntax}
    expected = to_volume([dcmread(path) for path in files])
    found = to_volume(compressed)
    assert np.array_equal(found.array, expected.array)
    assert np.array_equal(found.affine, expected.affine)


def test_jpeg_2000_can_be_decoded() -> None:
    """DCMTK has no encoder for it, so only the presence of the decoder is shown."""
    from pydicom.pixels import get_decoder

    assert get_decoder(JPEG2000Lossless).is_available
