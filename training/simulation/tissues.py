"""Relaxation times, proton density and diffusion of the tissues of a head at 1.5 T and 3 T.

Sources, by the letter used beside each row:
  S  Stanisz 2005, Magn Reson Med 54:507 (grey, white, muscle, blood; T1 and T2 at 1.5 T and 3 T), in vitro:
     animal tissue at 37 C, human blood
  R  Rooney 2007, Magn Reson Med 57:308 (T1 of white, grey and CSF at 1.5 T; field dependence)
  W  Wansapura 1999, J Magn Reson Imaging 9:531 (T1 and T2 of grey and white at 3 T)
  G  Gelman 2001, Magn Reson Med 45:71 (T1 of the basal ganglia at 3 T)
  P  Peters 2007, Magn Reson Imaging 25:748 (T2* of grey, white and putamen at 1.5 T and 3 T)
  C  Spijkerman 2018, MAGMA 31:415 (T2 of CSF at 3 T)
  B  de Bazelaire 2004, Radiology 230:652 (T1 and T2 of subcutaneous fat at 1.5 T and 3 T)
  J  Henkelman 1992, J Magn Reson Imaging 2:533 (fat is brighter in a train of echoes: J coupling)
  U  Reichert 2005, Magn Reson Imaging 23:611 (cortical bone, ultrashort echo times)
  H  Helenius 2002, AJNR 23:194 (ADC of grey, white and CSF)
  M  Whittall 1997, Magn Reson Med 37:34 (water content, which stands for proton density)
  L  Stevenson 2000, J Neurol Sci 178:81 (T1 and T2 of multiple sclerosis lesions), with ADC as usually
     reported; an old plaque and a fresh one differ by more than the two rows do
  A  Rohrer 2005, Invest Radiol 40:715 (relaxivity of gadobutrol in plasma)
The rows are round numbers within the spread of such papers, not quotations: T1 of grey at 3 T is given as 1331 to
1820 ms, and its T2 in vivo as 87 ms at 1.5 T and 76 ms at 3 T (PMID 20593370), below the rows here. Who trains on
them should vary them by that much.
Times are in ms, ADC in 1e-6 mm2/s, proton density relative to water.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """One tissue at one field strength.

    `t2_train_ms` is the T2 that a train of refocusing pulses sees where it differs from a single
    echo's (fat). `fat` is the share of its protons that fat suppression removes.
    """

    name: str
    pd: float
    t1_ms: float
    t2_ms: float
    t2star_ms: float
    adc: float
    t2_train_ms: float | None = None
    fat: float = 0.0


FIELDS_T: tuple[float, float] = (1.5, 3.0)

# name: (PD, ADC, (T1, T2, T2*) at 1.5 T, (T1, T2, T2*) at 3 T)
_ROWS: dict[str, tuple[float, float, tuple[float, float, float], tuple[float, float, float]]] = {
    "csf": (1.00, 3000.0, (4100.0, 2000.0, 1000.0), (4200.0, 2000.0, 800.0)),  # R C H
    "grey": (0.82, 850.0, (1150.0, 95.0, 84.0), (1500.0, 99.0, 66.0)),  # S R W P H M
    "white": (0.71, 710.0, (660.0, 76.0, 66.0), (860.0, 74.0, 53.0)),  # R S W P H M
    "deep_grey": (0.80, 760.0, (980.0, 80.0, 56.0), (1330.0, 74.0, 32.0)),  # G P
    "fat": (0.90, 50.0, (343.0, 58.0, 45.0), (382.0, 68.0, 35.0)),  # B
    "muscle": (0.78, 1400.0, (1010.0, 44.0, 35.0), (1410.0, 40.0, 28.0)),  # S; skin and scalp alike
    "bone": (0.15, 200.0, (240.0, 1.0, 0.5), (250.0, 1.0, 0.4)),  # U; marrow is a share of fat beside it
    "blood": (0.85, 1700.0, (1440.0, 250.0, 150.0), (1930.0, 230.0, 60.0)),  # S; at rest, oxygenated
    "lesion": (0.88, 1150.0, (1250.0, 170.0, 130.0), (1560.0, 165.0, 105.0)),  # L
    "oedema": (0.90, 1400.0, (1450.0, 150.0, 120.0), (1750.0, 145.0, 100.0)),  # L
}
TISSUE_NAMES: tuple[str, ...] = tuple(_ROWS)

_FAT_IN_A_TRAIN_MS = {1.5: 130.0, 3.0: 133.0}  # J
# Relaxivities in L / (mmol s) at (1.5 T, 3 T). A
_R1 = {1.5: 5.2, 3.0: 5.0}
_R2 = {1.5: 6.1, 3.0: 7.1}


def _row(name: str, index: int) -> Tissue:
    pd, adc, *times = _ROWS[name]
    t1, t2, t2star = times[index]
    fat = name == "fat"
    return Tissue(
        name=name,
        pd=pd,
        t1_ms=t1,
        t2_ms=t2,
        t2star_ms=t2star,
        adc=adc,
        t2_train_ms=_FAT_IN_A_TRAIN_MS[FIELDS_T[index]] if fat else None,
        fat=0.95 if fat else 0.0,  # glycerol and olefinic protons lie near water and stay
    )


_TABLES = {
    field: MappingProxyType({name: _row(name, index) for name in _ROWS})
    for index, field in enumerate(FIELDS_T)
}


def tissue_table(field_t: float) -> Mapping[str, Tissue]:
    """The tissues at 1.5 T or 3 T by name (`TISSUE_NAMES`); ValueError for another field."""
    try:
        return _TABLES[field_t]
    except KeyError:
        raise ValueError(f"field_t is {field_t}; the tissue table holds {FIELDS_T} T only") from None


def with_agent(tissue: Tissue, concentration_mmol_l: float, field_t: float) -> Tissue:
    """`tissue` holding a gadolinium agent: 1/T' = 1/T + r C for T1, T2 and T2* (Rohrer 2005).

    About 0.1 mmol/l stays in normal grey matter's vessels, 0.3 to 1 mmol/l in enhancing tumour.
    """
    if concentration_mmol_l < 0:
        raise ValueError(f"concentration_mmol_l is {concentration_mmol_l}; it cannot be negative")
    if field_t not in _R1:
        raise ValueError(f"field_t is {field_t}; relaxivities are known for {FIELDS_T} T only")
    r1 = _R1[field_t] * concentration_mmol_l / 1000.0
    r2 = _R2[field_t] * concentration_mmol_l / 1000.0
    train = tissue.t2_train_ms
    return replace(
        tissue,
        t1_ms=1.0 / (1.0 / tissue.t1_ms + r1),
        t2_ms=1.0 / (1.0 / tissue.t2_ms + r2),
        t2star_ms=1.0 / (1.0 / tissue.t2star_ms + r2),
        t2_train_ms=None if train is None else 1.0 / (1.0 / train + r2),
    )
