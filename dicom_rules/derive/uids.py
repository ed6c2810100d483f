"""UIDs that follow from what was computed: the same work gives the same UIDs, so a retry cannot duplicate.

A UUID written as an integer under the root 2.25 is a valid UID that nobody needs to register (PS3.5 B.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID, uuid5

_NAMESPACE = UUID("6e0d6f0a-5f0e-5a52-9a4e-3f1d1c6a2b7d")  # fixed for ever: changing it changes every UID
IMPLEMENTATION_CLASS_UID = f"2.25.{uuid5(_NAMESPACE, 'implementation').int}"


def _uid(*parts: str) -> str:
    return f"2.25.{uuid5(_NAMESPACE, chr(0x1F).join(parts)).int}"


def series_uid(source_uids: Iterable[str], model_digest: str, target: str, revision: int) -> str:
    """Series Instance UID of `target` made from these SOP instances (any order) by this model."""
    return _uid("series", model_digest, target, str(revision), *sorted(set(source_uids)))


def sop_uid(series: str, index: int) -> str:
    """SOP Instance UID of slice `index` (0-based) of a series made by `series_uid`."""
    return _uid("slice", series, str(index))


def device_uid(model_digest: str) -> str:
    """Device UID of a set of weights: it changes with every retraining (PS3.3 C.7.5.1)."""
    return _uid("device", model_digest)


def object_uid(kind: str, *facts: str) -> str:
    """UID of a series or object of another kind than the MR series, following from these facts in this order."""
    return _uid(kind, *facts)
