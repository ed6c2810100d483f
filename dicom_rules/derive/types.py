"""What the encoder takes: the result as numbers, and who made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Maker:
    """The node and the model behind a result. All values are passed in: this package has no clock or host.

    `model_digest` is the SHA-256 of the weights in hex; `content_qualification` is RESEARCH until the site
    states otherwise (PRODUCT, SERVICE; PS3.3 C.12.1.1.1).
    """

    node_version: str
    model_name: str
    model_version: str
    model_digest: str
    ae_title: str
    station: str = ""
    content_qualification: str = "RESEARCH"


@dataclass(frozen=True, kw_only=True)
class SyntheticVolume:
    """One synthesised contrast on the grid of its reference source.

    `array` is (S, R, C) uint16 of stored values; `scale` is the stored value held to be the target's 99.5th
    percentile inside the brain; `window` is (centre, width) in stored values. `sources` are contrasts, `key`
    and `reference` two of them; `contributions` weighs the sources; `resampled` names those interpolated onto
    the grid. `neighbour_slices` is how many slices to either side the network read for one slice. `alignment`
    holds, per registered source, the 4x4 matrix from its own patient coordinates to the reference's (LPS mm).
    `supersedes` are the Series Instance UIDs of older synthetic series of this contrast that this one replaces;
    `watermark` burns the word SYNTHETIC into the pixels.
    """

    target: str
    array: npt.NDArray[np.uint16]
    scale: float
    window: tuple[float, float] | None
    sources: tuple[str, ...]
    key: str
    reference: str
    contributions: Mapping[str, float]
    resampled: tuple[str, ...]
    reasons: tuple[str, ...]
    neighbour_slices: int = 0
    alignment: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    supersedes: tuple[str, ...] = ()
    watermark: bool = False
