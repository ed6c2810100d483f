"""What synthetic contrasts are worth to somebody who looks for lesions: Dice with, without and in place of them.

In: a method, cases with lesion masks (an archive made of BraTS, ISLES or DICOM folders). Out: `Downstream`. Never: a
claim on diagnostic value.
"""

from __future__ import annotations

from training.downstream.arms import Arm, Stack, arms_of, stack
from training.downstream.experiment import SWAPPED, Downstream, downstream

__all__ = ["SWAPPED", "Arm", "Downstream", "Stack", "arms_of", "downstream", "stack"]
