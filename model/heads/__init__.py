"""TaskHeadNet: from fused features and detail to images, their intervals, and an estimate of their error.

In: fused features (B, N, D, h, w), the detail path, the sources. Out: three candidate images a target, interval
widths, level, and for each candidate a map of its expected error.
"""

from __future__ import annotations

from model.heads.level import LevelNet
from model.heads.quality import QualityFeedback
from model.heads.taskhead import HEADS, Candidates, TaskHeadNet

__all__ = ["HEADS", "Candidates", "LevelNet", "QualityFeedback", "TaskHeadNet"]
