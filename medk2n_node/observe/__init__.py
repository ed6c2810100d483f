"""What the node says about itself. Never a patient's name, identifier or date of birth."""

from __future__ import annotations

from medk2n_node.observe.logging import configure_logging, get_logger
from medk2n_node.observe.redaction import message_of, words_of

__all__ = ["configure_logging", "get_logger", "message_of", "words_of"]
