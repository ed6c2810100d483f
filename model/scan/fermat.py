"""The order in which a map's pixels are scanned: along one arm of a Fermat spiral, centre to rim.

r = a sqrt(theta), a = sqrt(R / pi) with R half the side, so that neighbouring turns lie about a pixel apart. Each
pixel at polar (r, phi) belongs to the turn n whose radius is nearest; sorting by t = phi + 2 pi n, ties by r and by
index, gives a bijection for every H and W.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt


@functools.lru_cache(maxsize=64)
def _order(height: int, width: int) -> tuple[int, ...]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    dy, dx = y - (height - 1) / 2, x - (width - 1) / 2
    r = np.hypot(dy, dx).ravel()
    phi = np.mod(np.arctan2(dy, dx), 2 * math.pi).ravel()
    a = math.sqrt(max(height, width) / 2 / math.pi)
    turn = np.maximum(0, np.round(((r / a) ** 2 - phi) / (2 * math.pi)))
    t = phi + 2 * math.pi * turn
    return tuple(int(v) for v in np.lexsort((np.arange(r.size), r, np.round(t, 9))))


def fermat_order(height: int, width: int) -> npt.NDArray[np.int64]:
    """(H*W,) flat pixel indices in scan order; a permutation of range(H*W)."""
    return np.asarray(_order(height, width), dtype=np.int64)
