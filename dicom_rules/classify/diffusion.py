"""Diffusion-weighted series: trace, ADC, directions, maps.

The trace at the highest b near 1000 s/mm2 is our DWI, the apparent diffusion coefficient our ADC. Single
directions, b=0 alone, anisotropy and exponential maps are none of the contrasts.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_rules.classify.facts import Facts, Spread
from dicom_rules.classify.names import Names
from dicom_rules.classify.physics import Reading, family_of
from dicom_rules.reading import first_item, items, number, text

LOWEST_WEIGHTED_B = 400
"""Below this, T2 shine-through and perfusion dominate; the contrast is no DWI yet."""

USUAL_B = (800, 1500)

DIRECTIONS_AT_ONE_PLACE = 3
"""So many images of one b-value at one position are directions, not a trace and a repeat."""

GE_IMAGE_KIND = Tag(0x00431030)
GE_COMBINED = 15
"""GE's combined (geometric mean) diffusion image among 14 = b0, 3-5 = one axis, 16 = tensor."""

ADC_CODE, TRACE_CODES = "113041", ("113043",)


def is_diffusion(facts: Facts, names: Names) -> bool:
    """Whether anything marks the stack as diffusion-weighted or computed from it."""
    named = facts.sequence is not None and bool(facts.sequence.diffusion)
    weighted = any(b > 0 for b in facts.b_values)
    by_type = facts.roles & {"adc", "diffusion", "diffusion_map"}
    # "ISO" and "TRACE" alone also name isotropic voxels; they count with an echo-planar readout only.
    trace = "trace" in facts.roles and family_of(facts).startswith("epi")
    stated = facts.acquisition_contrast == "DIFFUSION" or facts.directional
    by_name = (
        "ADC" in names.contrasts or "DWI" in names.contrasts or "diffusion" in names.kinds
    ) and _could_be(facts)
    by_b_in_name = any(b >= LOWEST_WEIGHTED_B for b in names.b_values) and _could_be(facts)
    return bool(
        named
        or weighted
        or by_type
        or trace
        or stated
        or _unit_of_diffusivity(facts)
        or by_name
        or by_b_in_name
    )


def diffusion(facts: Facts, names: Names, spread: Spread) -> Reading:
    """DWI, ADC or neither, with the reason."""
    words = "\\".join(facts.image_type)
    if "adc" in facts.roles:
        return _is("ADC", 0.97, f"ImageType {words} names the apparent diffusion coefficient")
    if "diffusion_map" in facts.roles:
        return _no(f"ImageType {words} names a diffusion map that is neither trace nor ADC")
    if _derivation_code(facts.header) == ADC_CODE:
        return _is("ADC", 0.95, "The derivation code names the apparent diffusion coefficient (113041, DCM)")
    if _unit_of_diffusivity(facts):
        return _is("ADC", 0.9, "The values are in a unit of diffusivity: an ADC map")
    highest = max(facts.b_values, default=None)
    if highest is not None and highest < LOWEST_WEIGHTED_B and "trace" not in facts.roles:
        return _no(f"the highest b-value is {highest:.0f} s/mm2: without diffusion weighting of its own")
    trace = _trace_reason(facts)
    if trace:
        return _trace(trace, highest, 0.95)
    if facts.directional or (facts.sequence is not None and facts.sequence.diffusion == "directions"):
        return _no("single diffusion directions, not their trace")
    if "diffusion" in names.kinds:
        return _no(f'the name says "{names.kinds["diffusion"]}": single directions or a map')
    repeats = facts.images_at_one_place
    if repeats >= DIRECTIONS_AT_ONE_PLACE:
        return _no(f"{repeats} images of one b-value at each position: single directions")
    return _by_names(facts, names, spread, highest)


def _by_names(facts: Facts, names: Names, spread: Spread, highest: float | None) -> Reading:
    words = dict(names.contrasts)
    if "ADC" in words and "DWI" not in words:
        return _is("ADC", 0.7, f'Echo-planar or derived, and the name says "{words["ADC"]}": the ADC map')
    usual = highest is not None and USUAL_B[0] <= highest <= USUAL_B[1]
    combined = number(facts.header, GE_IMAGE_KIND) == GE_COMBINED
    # Several shells under this mark are a research acquisition whose directions were not combined.
    if combined and usual and spread.weighted_b_values == 1:
        return _trace("GE marks the images as combined from their directions", highest, 0.8)
    named_b = next((b for b in names.b_values if USUAL_B[0] <= b <= USUAL_B[1]), None)
    siemens_raw = "diffusion" in facts.roles and "NONE" in facts.image_type
    if named_b is not None and not siemens_raw and not combined and (highest is None or highest == named_b):
        return _trace(f"echo-planar, and the name states one b-value of {named_b}", float(named_b), 0.65)
    if "DWI" in words and usual and not siemens_raw and not combined:
        return _trace(
            f'the b-value is stated without a direction, and the name says "{words["DWI"]}"', highest, 0.6
        )
    return _no("diffusion-weighted, but nothing says whether this is the trace, one direction or a map")


def _trace_reason(facts: Facts) -> str:
    if "trace" in facts.roles:
        return "ImageType " + "\\".join(facts.image_type) + " names the trace"
    if facts.isotropic and not facts.directional and max(facts.b_values, default=0) > 0:
        return "The diffusion weighting is isotropic"
    if facts.sequence is not None and facts.sequence.diffusion == "trace":
        return f'Sequence "{facts.sequence_name}" is {facts.sequence.says}'
    return ""


def _trace(reason: str, b_value: float | None, confidence: float) -> Reading:
    if b_value is not None and b_value < LOWEST_WEIGHTED_B:
        return _no(f"{reason}, but at b = {b_value:.0f} s/mm2 it is not diffusion-weighted")
    if b_value is None:
        return _is("DWI", min(confidence, 0.85), f"{reason}; the b-value is not stated")
    usual = USUAL_B[0] <= b_value <= USUAL_B[1]
    remark = "" if usual else ", away from the usual 1000"
    return _is(
        "DWI", confidence if usual else confidence - 0.1, f"{reason}, b = {b_value:.0f} s/mm2{remark}: DWI"
    )


def _could_be(facts: Facts) -> bool:
    return family_of(facts) in ("epi_spin_echo", "epi_gradient_echo", "") or facts.image_type[:1] == (
        "DERIVED",
    )


def _derivation_code(header: Dataset) -> str:
    group = first_item(header, "PerFrameFunctionalGroupsSequence") or header
    derivation = first_item(group, "DerivationImageSequence") or group
    return next((text(code, "CodeValue") for code in items(derivation, "DerivationCodeSequence")), "")


def _unit_of_diffusivity(facts: Facts) -> bool:
    mapping = first_item(facts.header, "RealWorldValueMappingSequence") or Dataset()
    unit = text(first_item(mapping, "MeasurementUnitsCodeSequence") or Dataset(), "CodeValue")
    kind = text(facts.header, "RescaleType").lower().replace(" ", "")
    return unit.endswith("2/s") or kind.endswith(("mm2/s", "mm^2/s", "um2/s", "um^2/s", "mm²/s"))


def _is(contrast: str, confidence: float, sentence: str) -> Reading:
    return Reading(contrast=contrast, confidence=confidence, sentence=sentence, kind="diffusion")


def _no(sentence: str) -> Reading:
    return Reading(contrast=None, confidence=0.0, sentence=sentence, kind="diffusion")
