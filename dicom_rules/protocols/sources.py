"""Of what a target is made: sources, the key among them, and the grid on which the result lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dicom_rules import CONTRASTS
from dicom_rules.classify import SeriesClass
from dicom_rules.protocols.candidates import is_good_grid, voxel_mm3
from dicom_rules.protocols.types import Abilities

NEAREST: Mapping[str, tuple[str, ...]] = {
    # Which contrast is nearest in signal, for models that state no preference.
    "T1": ("T1C", "T2", "FLAIR", "DWI", "ADC"),
    "T1C": ("T1", "FLAIR", "T2", "DWI", "ADC"),
    "T2": ("FLAIR", "T1", "T1C", "DWI", "ADC"),
    "FLAIR": ("T2", "T1C", "T1", "DWI", "ADC"),
    "DWI": ("ADC", "T2", "FLAIR", "T1", "T1C"),
    "ADC": ("DWI", "T2", "FLAIR", "T1", "T1C"),
}


def sources_for(
    target: str, present: Mapping[str, SeriesClass], abilities: Abilities, of: Sequence[str] = CONTRASTS
) -> tuple[str, ...]:
    """The contrasts of the study that the model can use for this target and that are among `of`, in usual order."""
    return tuple(
        contrast
        for contrast in CONTRASTS
        if contrast in present
        and contrast in of
        and contrast != target
        and contrast in abilities.contrasts
        and (not abilities.key_preference or target in abilities.key_preference.get(contrast, {}))
    )


def key_of(target: str, sources: Sequence[str], abilities: Abilities) -> tuple[str, str]:
    """The key source of a target and the sentence for it."""

    def score(source: str) -> float | None:
        return abilities.key_preference.get(source, {}).get(target)

    scored = [(value, source) for source in sources if (value := score(source)) is not None]
    if scored:
        value, key = max(scored, key=lambda one: (one[0], -NEAREST[target].index(one[1])))
        if len(sources) == 1:
            return key, f"{key} is the only source"
        return (
            key,
            f"{key} is the key source: alone it gives {target} with {value:.1f} dB, the best of those present",
        )
    key = min(sources, key=NEAREST[target].index)
    return key, f"{key} is the key source, nearest to {target} in signal"


def reference_for(key: str, sources: Sequence[str], present: Mapping[str, SeriesClass]) -> tuple[str, str]:
    """The contrast on whose grid the result lies, and the sentence for it.

    The key source, unless it is a stack of thick sagittal or coronal slices and another source is axial or nearly
    isotropic: results are read in the axial plane.
    """
    series = present[key]
    if is_good_grid(series):
        return key, f"The result lies on the grid of {key} ({_grid(series)})"
    better = [source for source in sources if is_good_grid(present[source])]
    if not better:
        return key, f"The result lies on the grid of {key} ({_grid(series)}); no source has a better one"
    chosen = min(better, key=lambda source: (voxel_mm3(present[source]), CONTRASTS.index(source)))
    return chosen, (
        f"The result lies on the grid of {chosen} ({_grid(present[chosen])}) and not of {key}, "
        f"whose slices are thick ({_grid(series)})"
    )


def _grid(one: SeriesClass) -> str:
    spacing = "" if one.slice_spacing_mm is None else f", slices {one.slice_spacing_mm:g} mm apart"
    return f"{one.plane}{spacing}"
