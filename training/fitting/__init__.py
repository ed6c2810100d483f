"""A training of a site's own, from prepared archives to a sealed bundle.

In: a `Request`. Out: a run's folder with a bundle, and `Fitted`, what it made. Never: a comparison with the model in
service, a promotion, the network (as in internet).
"""

from __future__ import annotations

from training.fitting.carry import fit
from training.fitting.figures import single_source_scores, validation_figures
from training.fitting.pictures import draw_pictures
from training.fitting.request import SCRATCH, Fitted, Request

__all__ = [
    "SCRATCH",
    "Fitted",
    "Request",
    "draw_pictures",
    "fit",
    "single_source_scores",
    "validation_figures",
]
