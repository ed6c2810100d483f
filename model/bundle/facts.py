"""What stands in `bundle.json`, and the check that a manifest says all of it in the right form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from model.bundle.seal import MANIFEST, fault
from model.calibration import calibration_fault
from model.encoder import ENCODERS
from model.imaging.grid import KEEP_MM, THICK_MM
from model.imaging.normalise import PERCENTILE
from model.network import MedK2N, NetworkConfig

SCHEMA = 4
#: What this code does to an image before the network sees it. Weights that learned on something else are refused.
PREPROCESSING: dict[str, Any] = {
    "inside": "brain",
    "percentile": PERCENTILE,
    "in_plane_mm": list(KEEP_MM),
    "thick_mm": THICK_MM,
}
#: Rounding of the tables in the manifest; the weights hold the values themselves.
_TABLE_DIGITS, _TABLE_TOLERANCE = 4, 1e-3


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


#: Every fact that a bundle must state: its key, the check, and what the check wants in words.
FACTS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("name", _text, "a text"),
    ("version", _text, "a text"),
    ("intended_use", _text, "a text"),
    ("combine", lambda v: v in ("mean", "choose"), '"mean" or "choose"'),
    ("stored_scale", lambda v: _number(v) and v > 0, "a positive number"),
    ("worst_expected_error", lambda v: _number(v) and v > 0, "a positive number"),
    ("interval_factor", lambda v: v is None or (_number(v) and v > 0), "a positive number, or null: uncalibrated"),
    ("preprocessing", lambda v: isinstance(v, dict), "an object"),
    (
        "training",
        lambda v: isinstance(v, dict) and _text(v.get("fingerprint")),
        "an object with the data's `fingerprint`",
    ),
    ("metrics", lambda v: isinstance(v, dict), "an object"),
)  # fmt: skip


def check_facts(manifest: Mapping[str, Any], subject: Path) -> None:
    """Refuse a manifest that lacks a fact, states it in another form, or was trained on other preprocessing.

    Raises:
        BundleError: schema; the reason names every key.
    """
    missing = [key for key, _, _ in FACTS if key not in manifest]
    wrong = [
        f"{key} must be {words}" for key, fits, words in FACTS if key in manifest and not fits(manifest[key])
    ]
    # A bundle of before calibration has no such fact: absent says the same as null.
    doubtful = calibration_fault(manifest.get("calibration"))
    if doubtful is not None:
        wrong.append(doubtful)
    if missing or wrong:
        words = [f"missing: {', '.join(missing)}"] if missing else []
        raise fault(
            subject, "schema", "; ".join([*words, *wrong]), "Write the bundle again with all of its facts."
        )
    stated = manifest["preprocessing"]
    differ = [
        f"{key} is {stated.get(key)!r}, this version computes with {value!r}"
        for key, value in PREPROCESSING.items()
        if stated.get(key) != value
    ]
    if differ:
        raise fault(
            subject, "schema", f"its images were prepared in another way: {'; '.join(differ)}",
            "Use a bundle that was trained with this version.",
        )  # fmt: skip


def read_manifest(data: bytes, folder: Path) -> dict[str, Any]:
    """The manifest of a bundle.

    Raises:
        BundleError: schema: not JSON, another schema, a fact that is missing or of another form.
    """
    file = folder / MANIFEST
    try:
        manifest = json.loads(data)
    except ValueError as error:
        raise fault(file, "schema", f"it is not JSON ({error})", "Install the bundle again.") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        stated = manifest.get("schema") if isinstance(manifest, dict) else None
        raise fault(
            file, "schema", f"its schema is {stated!r}, this version reads {SCHEMA}",
            "Use a bundle made by this version.",
        )  # fmt: skip
    check_facts(manifest, file)
    return manifest


def read_config(manifest: Mapping[str, Any], folder: Path) -> NetworkConfig:
    """The architecture that the manifest states.

    Raises:
        BundleError: schema: the architecture is absent, or names what this version does not know.
    """
    stated = manifest.get("network")
    try:
        if not isinstance(stated, dict):
            raise TypeError("network is not an object")
        config = NetworkConfig.from_json(stated)
        if config.encoder not in ENCODERS:
            raise TypeError(f"there is no encoder {config.encoder!r}")
        return config
    except TypeError as error:
        raise fault(
            folder / MANIFEST,
            "schema",
            f"its network cannot be built ({error})",
            "Use a bundle made by this version.",
        ) from error


def tables(network: MedK2N) -> dict[str, Any]:
    """P[i, j] and p_ij of the weights as a person reads them: source -> target -> value(s)."""

    def table(values: Tensor) -> dict[str, dict[str, Any]]:
        names, rows = network.config.contrasts, values.detach().double().tolist()
        return {
            source: {target: _rounded(rows[i][j]) for j, target in enumerate(names) if i != j}
            for i, source in enumerate(names)
        }

    return {"key_score": table(network.key_score), "history": table(network.history)}


def check_tables(manifest: Mapping[str, Any], network: MedK2N, folder: Path) -> None:
    """Refuse a manifest whose tables are not those of its weights.

    Raises:
        BundleError: keys.
    """
    for name, wanted in tables(network).items():
        if not _close(manifest.get(name), wanted):
            raise fault(
                folder / MANIFEST, "keys", f"its table {name} is not the one in the weights",
                "The files belong to different bundles; install the bundle again.",
            )  # fmt: skip


def _rounded(value: Any) -> Any:
    return [_rounded(v) for v in value] if isinstance(value, list) else round(value, _TABLE_DIGITS)


def _close(stated: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return (
            isinstance(stated, dict)
            and set(stated) == set(wanted)
            and all(_close(stated[key], value) for key, value in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(stated, list)
            and len(stated) == len(wanted)
            and all(_close(one, other) for one, other in zip(stated, wanted, strict=True))
        )
    return _number(stated) and abs(stated - wanted) <= _TABLE_TOLERANCE
