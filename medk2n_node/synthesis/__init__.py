"""A planned revision becomes objects on disk: read, register, synthesise, encode, write.

In: a `Job` (which files are which contrast, what to make of them, what to number it) and a model bundle. Out: a
`Product`, files under the storage root with their hashes, a report and the seconds of every stage. `Refused` when
the images or the model give a reason not to. Never touches the database, never decides what to make, and imports
torch only when it runs.
"""

from __future__ import annotations

from medk2n_node.synthesis.files import write_objects
from medk2n_node.synthesis.job import Forms, Job, MadeObject, Product, Progress, Refused, Target
from medk2n_node.synthesis.opinion import image_votes
from medk2n_node.synthesis.run import run
from medk2n_node.synthesis.truth import Measured, compare_volumes, measure

__all__ = [
    "Forms",
    "Job",
    "MadeObject",
    "Measured",
    "Product",
    "Progress",
    "Refused",
    "Target",
    "compare_volumes",
    "image_votes",
    "measure",
    "run",
    "write_objects",
]
