"""Which weights are in force, and the models that this node keeps.

In: the configuration, and bundles that a person puts into service. Out: the folder of the bundle in force with the
reason why it is that one; for the worker, the opened bundle, exchanged between two studies and never within one.
Never: deletes a version, uses a bundle that its seal does not fit, or imports torch before a bundle is opened.
"""

from __future__ import annotations

from medk2n_node.models.choice import Choice, choose, load_in_force
from medk2n_node.models.naming import Found, all_models, find
from medk2n_node.models.record import Change, Record
from medk2n_node.models.service import ModelService, ModelUnusable
from medk2n_node.models.shelf import Kept, Shelf, shelf_of

__all__ = [
    "Change",
    "Choice",
    "Found",
    "Kept",
    "ModelService",
    "ModelUnusable",
    "Record",
    "Shelf",
    "all_models",
    "choose",
    "find",
    "load_in_force",
    "shelf_of",
]
