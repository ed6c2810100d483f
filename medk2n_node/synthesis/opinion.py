"""What the images of a study look like to the model: the second opinion on what the headers say.

Asked only about series that the headers hold to be usable, and only where the weights in force bring a judge of
identity (CMIM). Loads torch, so the worker and `medk2n plan` import it when they get there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_rules.classify import SeriesClass
from dicom_rules.errors import GeometryError
from medk2n_node.synthesis.sources import read_volume

if TYPE_CHECKING:
    from model import Bundle


def image_votes(
    files: Mapping[str, Sequence[Path]], classes: Sequence[SeriesClass], bundle: Bundle
) -> dict[str, dict[str, float]]:
    """The probability of each contrast, by Series Instance UID; empty where the weights bring no judge.

    A series whose pixels form no volume or show no head gets no vote: its geometry and its blankness are judged
    elsewhere, in words of their own.
    """
    judge = bundle.identity
    if judge is None:
        return {}
    from model import Image, ImagingError
    from model.identity import vote

    votes: dict[str, dict[str, float]] = {}
    for one in classes:
        if not one.usable or one.contrast is None or one.contrast not in judge.contrasts:
            continue
        try:
            volume = read_volume(files[one.series_uid], one.contrast)
            image = Image(
                array=volume.array,
                affine=volume.affine,
                frame_of_reference=volume.frame_of_reference_uid,
            )
            votes[one.series_uid] = vote(image, judge)
        except (GeometryError, ImagingError):
            continue
    return votes
