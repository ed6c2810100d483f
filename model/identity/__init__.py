"""CMIM, the causal modality identity module (paper section 2.6): is this image the contrast it claims to be?

In: slices or volumes. Out: how alike each is to the description of every contrast. A vision tower learned together
with texts, then frozen: it judges, it is never judged by what it judges. Inference needs PyTorch alone; the text
tower is used in training only, and what it said of each contrast is a buffer here.
"""

from __future__ import annotations

from model.identity.files import (
    IDENTITY_FACTS,
    IDENTITY_WEIGHTS,
    half,
    load_identity,
    read_identity,
    save_identity,
)
from model.identity.tower import BACKGROUND, Identity, IdentityConfig, VisionTower, standardise
from model.identity.vote import SUBSTANTIAL, identity_probabilities, vote

__all__ = [
    "BACKGROUND",
    "IDENTITY_FACTS",
    "IDENTITY_WEIGHTS",
    "SUBSTANTIAL",
    "Identity",
    "IdentityConfig",
    "VisionTower",
    "half",
    "identity_probabilities",
    "load_identity",
    "read_identity",
    "save_identity",
    "standardise",
    "vote",
]
