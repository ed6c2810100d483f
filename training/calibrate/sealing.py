"""A bundle with the calibration that was measured on it, under a seal of its own."""

from __future__ import annotations

from pathlib import Path

from model.bundle import restate_bundle, verify_bundle
from training.calibrate.fact import Calibrated

HEADING = "## Calibration"


def seal_calibrated(source: Path, target: Path, found: Calibrated) -> str:
    """Write the bundle `source` with the fact `calibration` and a chapter of its card; gives the new digest.

    `source` and `target` may be the same folder.

    Raises:
        BundleError: the source is not whole.
    """
    return restate_bundle(
        source, target, {"calibration": found.fact}, card_with(verify_bundle(source).card, found)
    )


def card_with(card: str, found: Calibrated) -> str:
    """The card with its chapter on calibration, in place of an earlier one."""
    body = card.split(HEADING)[0].rstrip()
    body = body.replace("the interval is **uncalibrated**", "the interval: see Calibration")
    lines = [f"- {words}" for words in found.words]
    mean, raw = found.mean_coverage(), found.mean_coverage(scaled=False)
    if mean is not None and raw is not None:
        patients = max(one.patients for one in found.covered)
        lines.append(
            f"- On {patients} patients that took no part in it the intervals held {mean:.1%} of the brain's voxels"
            f" ({raw:.1%} without the factors), over {len(found.covered)} combinations of target and sources."
        )
    return f"{body}\n\n{HEADING}\n\n" + "\n".join(lines) + "\n"
