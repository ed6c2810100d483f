"""The identity module's own training: towers built by open_clip learn real slices together with sentences.

In: prepared cases. Out: the frozen tower that a bundle carries (`model.identity`), and a judge of another seed and
another build that never takes part in a training and says in evaluation whether a synthetic image is its contrast.

python -m training.identity CACHE LABELS BUNDLE
"""

from __future__ import annotations

from training.identity.descriptions import DESCRIPTIONS
from training.identity.fit import IdentityRecipe, draw_pool, fit, freeze
from training.identity.judge import load_judge, save_judge
from training.identity.slices import SliceSampler
from training.identity.towers import JUDGE, build_clip, open_local_clip, vision_settings

__all__ = [
    "DESCRIPTIONS",
    "JUDGE",
    "IdentityRecipe",
    "SliceSampler",
    "build_clip",
    "draw_pool",
    "fit",
    "freeze",
    "load_judge",
    "open_local_clip",
    "save_judge",
    "vision_settings",
]
