"""Which source counts for which target, whether it passes, and where: PreWeightNet, ThresholdNet, EffiWeightNet.

In: features of the key and of one auxiliary source, the base prediction's features and error map, labels.
Out: w_global and tau (one number a pair), w_eff (a map a pair), and the reported accept or reject.
"""

from __future__ import annotations

from model.fusion.weights import EffiWeightNet, PairContext, PreWeightNet, ThresholdNet

__all__ = ["EffiWeightNet", "PairContext", "PreWeightNet", "ThresholdNet"]
