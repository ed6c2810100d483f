"""A bundle in the layout of a MONAI bundle, for tools that read that; the weights stay the sealed ones.

configs/metadata.json    what the network takes and gives, as MONAI's schema asks for it
configs/inference.json   opens the weights and synthesises; MONAI's ConfigParser and `monai.bundle run` read it
models/                  the bundle itself, sealed: `medk2n models verify OUT/models` and `models use OUT/models`
models/model.pt          the same weights as a plain state dict, where MONAI's loaders look for one
models/onnx/             a graph for each pattern that was asked for
docs/README.md           the card, and how to run it
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model.bundle.files import Bundle
from model.bundle.graph import Graph, Pattern, export_graph, places_of
from model.bundle.seal import copy_sealed, fault
from model.bundle.trial import open_and_try
from model.errors import RequestError
from model.heads.level import LEVEL_FEATURES

_SCHEMA_URL = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
_MONAI = "1.6.1"


def read_pattern(text: str) -> Pattern:
    """`T1,T2:FLAIR` as a pattern.

    Raises:
        RequestError: it is not of that form.
    """
    left, colon, right = text.partition(":")
    sources, targets = (tuple(n.strip() for n in side.split(",") if n.strip()) for side in (left, right))
    if not colon or not sources or not targets:
        raise RequestError(
            code="targets", subject=text, reason="it is not of the form SOURCES:TARGETS",
            cure="Write it as T1,T2:FLAIR.",
        )  # fmt: skip
    return Pattern(sources=sources, targets=targets)


def export_bundle(
    source: Path, out: Path, patterns: Sequence[Pattern] = (), size: int = 256
) -> dict[str, Any]:
    """Write the bundle in `source` to the new or empty folder `out` as a MONAI bundle.

    Args:
        patterns: what to write as ONNX too.
        size: rows and columns of the ONNX graphs.

    Returns:
        name, version, digest, folder, files, and for each pattern what became of it.

    Raises:
        BundleError: the bundle is not whole, or `out` holds something already.
        RequestError: a pattern cannot be.
    """
    bundle = open_and_try(source)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise fault(out, "exists", "it is not an empty folder", "Name a new folder; nothing was written.")
    for pattern in patterns:
        places_of(bundle, pattern)
    for name in ("configs", "docs", "models"):
        (out / name).mkdir(parents=True, exist_ok=True)
    copy_sealed(source, out / "models")
    torch.save(bundle.network.state_dict(), out / "models" / "model.pt")
    graphs: list[Graph] = []
    if patterns:
        (out / "models" / "onnx").mkdir()
        graphs = [export_graph(bundle, one, out / "models" / "onnx", size) for one in patterns]
    documents = {"metadata": _metadata(bundle), "inference": _inference(bundle)}
    for name, document in documents.items():
        (out / "configs" / f"{name}.json").write_text(json.dumps(document, indent=4) + "\n")
    (out / "docs" / "README.md").write_text(_readme(bundle, graphs))
    return {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "folder": str(out),
        "files": sorted(str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()),
        "onnx": [asdict(graph) for graph in graphs],
    }


def _metadata(bundle: Bundle) -> dict[str, Any]:
    """configs/metadata.json; the image tensors are described for the network, not for files."""
    count = len(bundle.contrasts)
    channels = {str(number): name for number, name in enumerate(("slice below", "slice", "slice above"))}
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "spatial_shape": ["32*n", "32*n"],
        "dtype": "float32",
        "value_range": [0, 4],
        "is_patch_data": False,
    }
    return {
        "schema": _SCHEMA_URL,
        "version": bundle.version,
        "changelog": {bundle.version: f"exported from the sealed bundle {bundle.digest}"},
        "monai_version": _MONAI,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": importlib.metadata.version("numpy"),
        "required_packages_version": {
            name: importlib.metadata.version(name) for name in ("sam2", "safetensors", "SimpleITK")
        },
        "name": bundle.name,
        "task": f"synthesis of missing brain MR contrasts: any of {', '.join(bundle.contrasts)} from any others",
        "description": "Med-K2N: any K source contrasts to any N target contrasts. For research use only.",
        "authors": "the medk2n project",
        "copyright": "see docs/README.md for the terms of the training data",
        "intended_use": str(bundle.manifest["intended_use"]),
        "data_source": f"training data with fingerprint {bundle.manifest['training']['fingerprint']}",
        "network_data_format": {
            "inputs": {
                "slices": {**image, "num_channels": 3, "channel_def": channels},
                "levels": {
                    "type": "feature",
                    "format": "histogram inside the brain, slice spacing, skull removed",
                    "num_channels": LEVEL_FEATURES,
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [0, 4],
                    "is_patch_data": False,
                    "channel_def": {},
                },
            },
            "outputs": {
                "pred": {
                    **image,
                    "num_channels": count,
                    "channel_def": {str(number): name for number, name in enumerate(bundle.contrasts)},
                }
            },
        },
    }


def _inference(bundle: Bundle) -> dict[str, Any]:
    """configs/inference.json: NIfTI files in, NIfTI files out, through the same door as everything else."""
    first, second = bundle.contrasts[0], bundle.contrasts[2]
    return {
        "imports": [
            "$from pathlib import Path",
            "$import model",
            "$from medk2n_node.synthesis.volumes import read_image, write_image",
        ],
        "bundle_root": ".",
        "output_dir": "$Path(@bundle_root) / 'eval'",
        "sources": {first: f"{first}.nii.gz", second: f"{second}.nii.gz"},
        "targets": ["FLAIR"],
        "batch_slices": 8,
        "bundle": "$model.load_bundle(Path(@bundle_root) / 'models')",
        "network_def": "$@bundle.network",
        "files": "${name: read_image(Path(path)) for name, path in @sources.items()}",
        "outputs": (
            "$model.synthesize({name: image for name, (image, _) in @files.items()}, @targets, @bundle, "
            "batch_slices=@batch_slices)"
        ),
        "run": [
            "$@output_dir.mkdir(parents=True, exist_ok=True)",
            (
                "$[write_image(made.array, @files[@outputs.reference][1], @output_dir / (name + '.nii.gz'), "
                "'SYNTHETIC ' + name + ', research only') for name, made in @outputs.targets.items()]"
            ),
        ],
    }


def _readme(bundle: Bundle, graphs: Sequence[Graph]) -> str:
    lines = [
        bundle.card.rstrip(),
        "",
        "## Running it",
        "",
        "`models/` is the sealed bundle (`medk2n models verify models`). With MONAI and medk2n installed:",
        "",
        "    python -m monai.bundle run --config_file configs/inference.json --bundle_root . \\",
        "        --sources \"{'T1': 'T1.nii.gz', 'T2': 'T2.nii.gz'}\" --targets \"['FLAIR']\"",
        "",
        "`models/model.pt` is the state dict of `network_def` for loaders that want one; it carries no code.",
    ]
    if graphs:
        lines += ["", "## ONNX", "", "| pattern | |", "|---|---|"]
        lines += [f"| {graph.pattern} | {graph.words} |" for graph in graphs]
        lines += [
            "",
            "A graph takes `slices` (slices, sources, 3, rows, columns), normalised so that 1.0 is the 99.5th "
            "percentile inside the brain, and `levels` (slices, sources, features). Registration, brain mask and "
            "normalisation are not in it.",
        ]
    return "\n".join(lines) + "\n"
