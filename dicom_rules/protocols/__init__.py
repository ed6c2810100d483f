"""Which contrasts a study should have, which are missing, and what may be made of what.

In: the classes of a study's series, what the model can do, what the site allows. Out: a `Plan` with a sentence
for every series and every target. Never reads pixels, files or a clock.
"""

from __future__ import annotations

from dicom_rules.protocols.planning import plan
from dicom_rules.protocols.rules import (
    Examination,
    PlanRules,
    Protocol,
    protocols_from_toml,
    shipped_protocols,
)
from dicom_rules.protocols.types import Abilities, Plan, Problem, SeriesRole, TargetPlan, Verdict

__all__ = [
    "Abilities",
    "Examination",
    "Plan",
    "PlanRules",
    "Problem",
    "Protocol",
    "SeriesRole",
    "TargetPlan",
    "Verdict",
    "plan",
    "protocols_from_toml",
    "shipped_protocols",
]
