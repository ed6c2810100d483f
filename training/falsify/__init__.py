"""Does anything notice when a study is wrong? Cases are spoilt on purpose and the node's own figures must tell.

In: a bundle, cases of patients that it never saw. Out: AUROC per kind of fault and score.
"""

from __future__ import annotations

from training.falsify.corrupt import CORRUPTIONS
from training.falsify.run import MEANT, Falsified, Trial, falsify
from training.falsify.scores import SCORES

__all__ = ["CORRUPTIONS", "MEANT", "SCORES", "Falsified", "Trial", "falsify"]
