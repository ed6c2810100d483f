"""An exported model: MONAI's reader opens it, its weights are the sealed ones, and ONNX says the same as PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import Bundle, BundleError, RequestError, load_bundle
from model.bundle import default_folder, export_bundle, read_pattern, stated_digest
from model.heads.level import LEVEL_FEATURES
from tests.unit.models.conftest import Call

# What MONAI 1.6's schema of metadata.json asks for (meta_schema_20240725.json, "required"); it lies on the network.
REQUIRED = {
    "schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version",
    "required_packages_version", "task", "description", "authors", "copyright", "network_data_format",
}  # fmt: skip
REQUIRED_OF_TENSOR = {
    "type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data", "channel_def",
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "monai"
    export_bundle(default_folder(), folder)
    return folder


def test_the_folder_has_the_layout_of_a_monai_bundle(exported: Path) -> None:
    for name in ("configs/metadata.json", "configs/inference.json", "models/model.pt", "docs/README.md"):
        assert (exported / name).is_file(), name
    metadata = json.loads((exported / "configs/metadata.json").read_text())
    assert set(metadata) >= REQUIRED
    assert metadata["version"] in metadata["changelog"]
    tensors = metadata["network_data_format"]
    for one in (*tensors["inputs"].values(), *tensors["outputs"].values()):
        assert set(one) >= REQUIRED_OF_TENSOR
    assert "Known failures" in (exported / "docs/README.md").read_text()


def test_what_was_exported_is_still_the_sealed_bundle(exported: Path, demo: Bundle) -> None:
    assert load_bundle(exported / "models").digest == demo.digest
    state = torch.load(exported / "models/model.pt", weights_only=True)
    for name, tensor in demo.network.state_dict().items():
        assert torch.equal(state[name], tensor), name


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_monai_s_own_reader_builds_the_network_from_it(exported: Path, demo: Bundle) -> None:
    # MONAI warns about optional packages of its own while it is imported; none of them is asked for here.
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_meta(str(exported / "configs/metadata.json"))
    parser.read_config(str(exported / "configs/inference.json"))
    parser["bundle_root"] = str(exported)
    parser.parse()
    assert parser.get("_meta_")["name"] == "medk2n-demo"
    network = parser.get_parsed_content("network_def")
    x, levels = torch.rand(1, 2, 3, 64, 64), torch.rand(1, 2, LEVEL_FEATURES)
    with torch.inference_mode():
        assert torch.equal(
            network(x, [0, 2], [3], levels).images, demo.network(x, [0, 2], [3], levels).images
        )


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BundleError, match="not an empty folder"):
        export_bundle(default_folder(), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]


def test_a_pattern_that_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    for text in ("T1,T2", ":FLAIR", "T1:"):
        with pytest.raises(RequestError, match="not of the form SOURCES:TARGETS"):
            read_pattern(text)
    with pytest.raises(RequestError, match="unknown: PD"):
        export_bundle(default_folder(), tmp_path / "a", [read_pattern("PD:T1")])
    with pytest.raises(RequestError, match="two sets"):
        export_bundle(default_folder(), tmp_path / "b", [read_pattern("T1:T1")])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_graph_gives_what_the_network_gives_for_any_number_of_slices(tmp_path: Path, demo: Bundle) -> None:
    import onnxruntime

    document = export_bundle(default_folder(), tmp_path / "out", [read_pattern("T1,T2:FLAIR")], size=64)
    [graph] = document["onnx"]
    assert graph["file"] == "T1-T2_to_FLAIR.onnx", graph["words"]
    assert 0 <= graph["difference"] < 1e-4
    assert "onnxruntime differs from PyTorch by" in graph["words"]
    assert graph["words"] in (tmp_path / "out/docs/README.md").read_text()
    session = onnxruntime.InferenceSession(
        str(tmp_path / "out/models/onnx" / graph["file"]), providers=["CPUExecutionProvider"]
    )
    x, levels = torch.rand(5, 2, 3, 64, 64), torch.rand(5, 2, LEVEL_FEATURES)
    given: Any = session.run(["images"], {"slices": x.numpy(), "levels": levels.numpy()})[0]
    with torch.inference_mode():
        wanted = demo.network(x, [0, 2], [3], levels).images.numpy()
    assert np.abs(given - wanted).max() < 1e-4


def test_the_command_exports_the_model_in_force_by_default(models: Call, tmp_path: Path) -> None:
    code, document = models("export", "--out", tmp_path / "out")
    assert (code, document["name"], document["onnx"]) == (0, "medk2n-demo", [])
    assert document["digest"] == stated_digest(tmp_path / "out" / "models")
    code, document = models("export", "--out", tmp_path / "out")
    assert (code, document["error"]["code"]) == (3, "exists")
