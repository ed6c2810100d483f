"""The weighting that a sequence's timing gives, read from the signal model; names are never looked at.

Every function returns a `Reading`: a contrast (or None), how sure, and the sentence that says why. A timing that
two contrasts share gives None: the classifier abstains rather than guesses.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicom_rules.classify.facts import Facts
from dicom_rules.classify.signal import Brightness, fluid_magnetisation, spin_echo, spoiled_gradient_echo

EPI_BANDWIDTH_HZ = 1000
"""A 2-D readout this fast (Hz per pixel) is echo-planar; turbo spin echoes stay near 100-550."""

T2_STAR_ECHO_MS = 10
"""A gradient echo this late is weighted by T2*, not by T1."""

STIR_TI_MS = 300
"""Shorter inversion times null fat."""

FLAIR_REPETITION_MS, FLAIR_ECHO_MS = 6000, 100
"""An inversion whose time is not stated: from these on it nulls fluid. Fat suppression by inversion (STIR) leaves so
little signal that it is read out early (TE 30 to 80 ms) and repeated after 3 to 6 s."""

FLUID_OPTIONS = frozenset({"T2FLAIR_GEMS"})
"""Words of ScanOptions by which a vendor says that fluid is nulled."""

SHORTEST_SPIN_ECHO_TR_MS, LATEST_T1_ECHO_MS = 250, 20
BOTH_FLIPS_DEG = (60, 100)
"""Timings in which a spin echo and a spoiled gradient echo both exist; below this repetition only the latter does."""

LOWEST_PREPARED_TI_MS, HIGHEST_PREPARED_TI_MS = 300, 1500
"""Inversion times of T1-weighted prepared gradient echoes; the second image of MP2RAGE lies above."""

FLUID_LEFT = (-0.2, 0.12)
"""CSF counts as nulled while its magnetisation lies in this share of equilibrium around 0. Its T1 (4 to 4.5 s) is known
no better; the saturation by a long echo train lets the null come earlier than the formula says, never later. STIR (TI
150 ms) leaves it near -0.6, a T1-FLAIR (TI 800 ms) near 0.1 but early, the first of two inversions near 0.18."""

SCOUT_TR_MS, SCOUT_VOXEL_MM = 5.5, 1.4
SCOUT_THICKNESS_MM = 8.0
COARSE_2D_MM = 2.0

INFLOW_TR_MS, INFLOW_FLIP_DEG = (15, 45), 25
"""Time-of-flight angiography: a repetition that saturates what stands still, and a flip angle that spares the blood
flowing in (Laub, Magn Reson Imaging Clin N Am 3:391, 1995). A T1-weighted volume at this repetition turns by 30°."""

SHORTEST_2D_TR_MS = 60
"""A 2-D gradient echo that repeats faster excites one slice after the other: scout, angiogram or cine. One that shows
T1 interleaves all its slices within 100 to 300 ms."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One voice: what it says, how sure (0..1), and why."""

    contrast: str | None
    confidence: float
    sentence: str
    kind: str = "structural"
    open_to_names: bool = False
    """The timing fits a contrast but does not decide it: a name may."""


def family_of(facts: Facts) -> str:
    """spin_echo, gradient_echo, epi_spin_echo, epi_gradient_echo, or "" where nothing says which."""
    named = facts.sequence.family if facts.sequence else ""
    if _is_echo_planar(facts, named):
        gradient = "GR" in facts.scanning or "FMRI" in facts.image_type or named == "epi_gradient_echo"
        # Siemens marks spin-echo EPI as EP alone, GE as EP\SE; a gradient echo is never refocused at 60 ms and more.
        return "epi_gradient_echo" if gradient and "SE" not in facts.scanning else "epi_spin_echo"
    if "SE" in facts.scanning:
        return "spin_echo"
    if "GR" in facts.scanning:
        return "gradient_echo"
    if named:
        return named
    if "IR" in facts.scanning and facts.flip_angle is not None:
        return "spin_echo" if facts.flip_angle > 40 else "gradient_echo"
    if facts.echo_pulse in ("SPIN", "BOTH"):
        return "spin_echo"
    return "gradient_echo" if facts.echo_pulse == "GRADIENT" else ""


def is_prepared(facts: Facts) -> bool:
    """Whether an inversion (or another magnetisation preparation) is stated."""
    named = facts.sequence is not None and facts.sequence.prepared
    stated = facts.inversion_stated or facts.inversion_time is not None or nulls_fluid(facts)
    return stated or named or bool(facts.scanning & {"IR"}) or "MP" in facts.variant


def nulls_fluid(facts: Facts) -> bool:
    """Whether the vendor's own words for the sequence say that fluid is nulled."""
    named = facts.sequence is not None and facts.sequence.nulls == "fluid"
    return named or bool(facts.options & FLUID_OPTIONS)


def weighting(facts: Facts, *, series_echoes: int) -> Reading:
    """T1, T2 or FLAIR by timing, else None with the reason; diffusion is not decided here."""
    tr, te = facts.repetition_time, facts.echo_time
    if tr is None or te is None:
        return _none("repetition or echo time is not stated, so the timing says nothing", open_to_names=False)
    family = family_of(facts)
    if family == "epi_gradient_echo":
        return _none(f"gradient-echo EPI (TE {te:g} ms) is T2*-weighted", kind="functional")
    if family == "epi_spin_echo":
        return _none(f"echo-planar readout (TE {te:g} ms) without a contrast of its own", kind="other")
    if family == "gradient_echo":
        return _gradient_echo(facts, tr, te, series_echoes)
    if family == "spin_echo":
        return _spin_echo(facts, tr, te)
    return _unknown_family(facts, tr, te)


def _is_echo_planar(facts: Facts, named: str) -> bool:
    stated = "EP" in facts.scanning or facts.echo_planar or named.startswith("epi")
    optioned = any(option.startswith("EPI") for option in facts.options)
    factor = facts.epi_factor is not None and facts.epi_factor > 3
    mosaic = bool({"MOSAIC", "VFRAME"} & set(facts.image_type))
    fast = facts.bandwidth is not None and facts.bandwidth >= EPI_BANDWIDTH_HZ and facts.three_d is False
    return stated or optioned or factor or mosaic or fast


def _spin_echo(facts: Facts, tr: float, te: float) -> Reading:
    ti = facts.inversion_time
    timing = f"TR {tr:g} ms, TE {te:g} ms" + (f", TI {ti:g} ms" if ti else "")
    if facts.thickness_mm is not None and facts.thickness_mm >= SCOUT_THICKNESS_MM:
        return _none(f"a spin echo in slices of {facts.thickness_mm:g} mm is a localizer", kind="localizer")
    if len({time for time in facts.inversion_times if time > 1}) > 1:
        return _none(f"two inversions ({timing} and more) null two tissues: double inversion recovery")
    if ti is not None and ti < STIR_TI_MS:
        return _none(f"a short inversion time ({timing}) nulls fat: STIR", kind="structural")
    prepared = is_prepared(facts)
    if prepared and ti is None:
        if te >= 60 and tr >= 4000 and nulls_fluid(facts):
            return Reading(
                contrast="FLAIR",
                confidence=0.9,
                sentence=f"the vendor's name of the sequence says that fluid is nulled ({timing}): FLAIR",
            )
        if te >= FLAIR_ECHO_MS and tr >= FLAIR_REPETITION_MS:
            return Reading(
                contrast="FLAIR",
                confidence=0.75,
                sentence=f"an inversion before so late an echo at so long a repetition ({timing}) nulls fluid: FLAIR",
            )
        if te >= 60 and tr >= 4000:
            return Reading(
                contrast=None,
                confidence=0.5,
                sentence=f"an inversion is stated without its time ({timing}): FLAIR or STIR",
                open_to_names=True,
            )
        if te < 40 and tr < 3500:
            return Reading(
                contrast="T1",
                confidence=0.7,
                sentence=f"an inversion-prepared spin echo with a short echo ({timing})",
            )
        return _none(f"an inversion is stated without its time ({timing})", open_to_names=True)
    light = spin_echo(field_t=facts.field_t, tr=tr, te=te, ti=ti, three_d=bool(facts.three_d))
    if ti is not None and te >= 60:
        remaining = fluid_magnetisation(field_t=facts.field_t, tr=tr, ti=ti)
        if not FLUID_LEFT[0] <= remaining <= FLUID_LEFT[1] or light.white_over_grey >= 1:
            return _none(
                f"{timing} inverts without nulling CSF ({remaining:+.2f} of its magnetisation is left)"
            )
        return Reading(
            contrast="FLAIR",
            confidence=0.97,
            sentence=f"{timing} nulls CSF ({remaining:+.2f} of its magnetisation is left) in a late echo: FLAIR",
        )
    return _by_brightness(light, timing, facts, te, inverted=ti is not None)


def _by_brightness(light: Brightness, timing: str, facts: Facts, te: float, *, inverted: bool) -> Reading:
    white, fluid = light.white_over_grey, light.fluid_over_grey
    ratios = f"white/grey {white:.2f}, CSF/grey {fluid:.2f}"
    if white >= 1.03 and fluid <= 0.8:
        return Reading(
            contrast="T1",
            confidence=0.95 if white >= 1.08 else 0.8,
            sentence=f"{timing} makes white matter brighter than grey and CSF dark ({ratios}): T1",
        )
    if not inverted and te >= 60 and white < 0.95 and fluid >= 1.25:
        return Reading(
            contrast="T2",
            confidence=0.9,
            sentence=f"{timing} makes CSF the brightest and grey brighter than white matter ({ratios}): T2",
            # A missing inversion time turns a FLAIR into this; a repetition this long is where it happens.
            open_to_names=(facts.repetition_time or 0) >= 4000,
        )
    if not inverted and te < 60 and white < 1.03:
        return _none(f"{timing} shows proton density ({ratios})")
    return _none(f"{timing} lies between the contrasts ({ratios})", open_to_names=True)


def _gradient_echo(facts: Facts, tr: float, te: float, series_echoes: int) -> Reading:
    flip, ti = facts.flip_angle, facts.inversion_time
    timing = f"TR {tr:g} ms, TE {te:g} ms" + (f", flip {flip:g}°" if flip is not None else "")
    if te >= T2_STAR_ECHO_MS:
        return _none(f"a gradient echo with a late echo ({timing}) is T2*-weighted", kind="susceptibility")
    if is_prepared(facts):
        if ti is not None and not LOWEST_PREPARED_TI_MS <= ti <= HIGHEST_PREPARED_TI_MS:
            return _none(f"a gradient echo prepared with TI {ti:g} ms is not T1-weighted by it")
        prepared = f", TI {ti:g} ms" if ti else ", magnetisation-prepared"
        return Reading(
            contrast="T1",
            confidence=0.95 if ti else 0.9,
            sentence=f"a prepared gradient echo ({timing}{prepared}): T1",
        )
    if flip is None:
        return _none(f"a gradient echo without a stated flip angle ({timing})", open_to_names=True)
    if series_echoes > 1:
        return _none(
            f"an unprepared gradient echo of {series_echoes} echo times is a map, not a weighting",
            kind="fieldmap",
        )
    if flip <= 20 and tr >= 1000 and facts.three_d is not False:
        return Reading(
            contrast="T1",
            confidence=0.75,
            sentence=f"a low flip angle at a long repetition ({timing}) only occurs with a preparation: T1",
        )
    scout = _scout(facts, tr)
    if scout:
        return _none(scout, kind="localizer")
    inflow = _inflow(facts, tr, flip, timing)
    if inflow:
        return _none(inflow, kind="angiography")
    if flip >= 35 and tr < 12 and "SP" not in facts.variant:
        return _none(f"a balanced steady state ({timing}) is weighted by T2/T1")
    coarse = facts.three_d is False and max(facts.in_plane_mm, default=0) >= COARSE_2D_MM
    if coarse:
        return _none(
            f"a coarse 2-D gradient echo ({max(facts.in_plane_mm):g} mm pixels) is a calibration, not anatomy",
            kind="fieldmap",
        )
    light = spoiled_gradient_echo(field_t=facts.field_t, tr=tr, te=te, flip_deg=flip)
    ratios = f"white/grey {light.white_over_grey:.2f}, CSF/grey {light.fluid_over_grey:.2f}"
    if light.white_over_grey >= 1.05 and light.fluid_over_grey <= 0.7:
        return Reading(
            contrast="T1",
            confidence=0.85 if light.white_over_grey >= 1.15 else 0.7,
            sentence=f"a spoiled gradient echo ({timing}) makes white matter brighter than grey ({ratios}): T1",
        )
    return _none(f"a gradient echo ({timing}) without T1 weighting ({ratios})")


def _scout(facts: Facts, tr: float) -> str:
    """Why an unprepared gradient echo is a scout and no examination; empty when it is not."""
    thickness, voxel = facts.thickness_mm, max(facts.in_plane_mm, default=None)
    if thickness is not None and thickness >= SCOUT_THICKNESS_MM:
        return f"a gradient echo in slices of {thickness:g} mm is a localizer"
    if tr >= SCOUT_TR_MS:
        return ""
    if voxel is None or thickness is None:
        return f"a very fast gradient echo (TR {tr:g} ms) of unstated resolution may be a scout"
    if voxel >= SCOUT_VOXEL_MM and thickness >= SCOUT_VOXEL_MM:
        return f"a very fast, coarse gradient echo (TR {tr:g} ms, {voxel:g} x {thickness:g} mm) is a scout"
    return ""


def _inflow(facts: Facts, tr: float, flip: float, timing: str) -> str:
    """Why an unprepared gradient echo may be an angiogram; empty when it is not."""
    if facts.three_d is False and tr < SHORTEST_2D_TR_MS:
        return f"a 2-D gradient echo this fast ({timing}) takes slice after slice: a scout or an inflow angiogram"
    if not INFLOW_TR_MS[0] <= tr <= INFLOW_TR_MS[1]:
        return ""
    if flip <= INFLOW_FLIP_DEG:
        return f"a gradient echo that spares inflowing blood ({timing}) fits time-of-flight angiography"
    marked = ("FC" in facts.options and "flow compensation") or (
        "MTC" in facts.variant and "magnetisation transfer"
    )
    return f"a gradient echo with {marked} ({timing}) fits time-of-flight angiography" if marked else ""


def _unknown_family(facts: Facts, tr: float, te: float) -> Reading:
    """Neither spin nor gradient echo is stated; only a timing that one of them alone can have decides."""
    flip = facts.flip_angle
    timing = f"TR {tr:g} ms, TE {te:g} ms" + (f", flip {flip:g}°" if flip is not None else "")
    volume = facts.three_d is not False
    if flip is not None and flip <= 20 and tr >= 1000 and te < T2_STAR_ECHO_MS and volume:
        return Reading(
            contrast="T1",
            confidence=0.85 if facts.inversion_time else 0.7,
            sentence=f"a low flip angle at a long repetition with an early echo ({timing}) is an MPRAGE: T1",
        )
    if is_prepared(facts) and facts.inversion_time is not None:
        return _spin_echo(facts, tr, te)
    if te > 150 and flip is not None and flip > 95 and 2000 <= tr < 4000:
        # No echo-planar image survives an echo this late, and no FLAIR has recovered in so short a repetition.
        return Reading(
            contrast="T2",
            confidence=0.7,
            sentence=f"a very late refocused echo ({timing}) is a turbo spin echo: T2",
        )
    if _is_t1_either_way(facts, tr, te):
        return Reading(
            contrast="T1",
            confidence=0.7,
            sentence=f"neither spin nor gradient echo is stated, but as either ({timing}) is weighted by T1: T1",
        )
    return _none(
        f"neither spin nor gradient echo is stated and the timing ({timing}) fits both", open_to_names=True
    )


def _is_t1_either_way(facts: Facts, tr: float, te: float) -> bool:
    flip = facts.flip_angle
    if flip is None or not BOTH_FLIPS_DEG[0] <= flip <= BOTH_FLIPS_DEG[1]:
        return False
    if tr < SHORTEST_SPIN_ECHO_TR_MS or te > LATEST_T1_ECHO_MS:
        return False
    readings = (
        spin_echo(field_t=facts.field_t, tr=tr, te=te, ti=None, three_d=bool(facts.three_d)),
        spoiled_gradient_echo(field_t=facts.field_t, tr=tr, te=te, flip_deg=flip),
    )
    return all(light.white_over_grey >= 1.03 and light.fluid_over_grey <= 0.8 for light in readings)


def fits(facts: Facts, contrast: str) -> bool:
    """Whether the timing allows this contrast at all, where it does not decide: a name may then break the tie."""
    tr, te = facts.repetition_time, facts.echo_time
    if tr is None or te is None:
        return False
    if contrast == "FLAIR":
        return tr >= 4000 and te >= 70
    if contrast == "T2":
        return tr >= 2000 and te >= 60 and facts.inversion_time is None
    if contrast == "T1":
        return te <= 30 and (tr <= 1200 or is_prepared(facts))
    return False


def _none(sentence: str, *, kind: str = "structural", open_to_names: bool = False) -> Reading:
    return Reading(contrast=None, confidence=0.0, sentence=sentence, kind=kind, open_to_names=open_to_names)
