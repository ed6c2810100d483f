"""Figures that can be believed: one protocol, inside the brain, beside peers in the same run.

In: methods (`training.peers.Method`), cases, patterns. Out: an `Evaluation`, as JSON and as a page to read.
"""

from __future__ import annotations

from training.evaluate.ablation import table as ablation_table
from training.evaluate.evaluation import Evaluation, Row, evaluate
from training.evaluate.figures import figures
from training.evaluate.methods import BundleMethod, NetworkMethod
from training.evaluate.patterns import from_all_others, patterns
from training.evaluate.protocol import predict_case, score, score_after_fit
from training.evaluate.report import verdict, write_report
from training.evaluate.service import (
    ablate_folders,
    ablate_trained,
    evaluate_folders,
    judged_cases,
    network_of,
    open_model,
)

__all__ = [
    "BundleMethod",
    "Evaluation",
    "NetworkMethod",
    "Row",
    "ablate_folders",
    "ablate_trained",
    "ablation_table",
    "evaluate",
    "evaluate_folders",
    "figures",
    "from_all_others",
    "judged_cases",
    "network_of",
    "open_model",
    "patterns",
    "predict_case",
    "score",
    "score_after_fit",
    "verdict",
    "write_report",
]
