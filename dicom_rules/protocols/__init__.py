"""Which contrasts a study should have, which are missing, and what may be made of what.

In: the classes of a study's series, what the model can do, what the site allows. Out: a `Plan` with a
sentence for every series and every target. Never reads pixels, files or a clock.
"""

from __future__ import annotations

from dicom_rules.protocols.types import Abilities, Plan, Problem, SeriesRole, TargetPlan, Verdict

__all__ = ["Abilities", "Plan", "Problem", "SeriesRole", "TargetPlan", "Verdict"]
