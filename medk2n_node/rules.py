"""The site's rules for series and studies, from the configuration to what `dicom_rules` takes."""

from __future__ import annotations

from pathlib import Path

from dicom_rules.classify import ClassifyRules
from dicom_rules.protocols import PlanRules, protocols_from_toml
from medk2n_node.config import Config
from medk2n_node.errors import ConfigError


def classify_rules(config: Config) -> ClassifyRules:
    """The overrides of `[[classification.overrides]]`; raises ClassifyError when one is not valid."""
    return ClassifyRules.from_mappings(
        [override.model_dump() for override in config.classification.overrides]
    )


def plan_rules(config: Config) -> PlanRules:
    """What `[targets]` and `[protocols]` allow and expect.

    Raises ConfigError when the file of protocols cannot be read, ProtocolError when its content is not valid.
    """
    allowed, high_risk = tuple(config.targets.allowed), tuple(config.targets.high_risk)
    if not config.protocols.file:
        return PlanRules(allowed=allowed, high_risk=high_risk)
    file = Path(config.protocols.file)
    try:
        content = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            code="config_protocols",
            subject=str(file),
            reason=f"the file of protocols cannot be read ({error})",
            cure='Correct protocols.file, or set it to "" for the protocols that are built in',
        ) from error
    protocols = protocols_from_toml(content, source=str(file))
    return PlanRules(allowed=allowed, high_risk=high_risk, protocols=protocols)


def check_rules(config: Config) -> None:
    """Read what the configuration names besides itself, so that a start fails and not a study; errors as above."""
    classify_rules(config)
    plan_rules(config)
