"""What can go wrong in the node, in words that name the thing, the reason and the cure.

NodeError
  ConfigError       the configuration cannot be used                      exit 3
  UsageError        a command was asked for something that makes no sense exit 2
  InputError        a file or folder that was given cannot be used        exit 3
  SafetyError       it could be done, but not safely                      exit 4
  PeerError         a DICOM peer could not be reached or refused          exit 5
  StoreError        the storage or the database cannot be used            exit 1
"""

from __future__ import annotations

from typing import ClassVar


class NodeError(Exception):
    """An error a person can act on. `str()` is one line: "subject: reason. cure"."""

    default_exit_code: ClassVar[int] = 1

    def __init__(
        self, *, code: str, subject: str, reason: str, cure: str, exit_code: int | None = None
    ) -> None:
        self.code = code
        self.subject = subject
        self.reason = reason
        self.cure = cure
        self.exit_code = self.default_exit_code if exit_code is None else exit_code
        super().__init__(f"{subject}: {reason}. {cure}" if cure else f"{subject}: {reason}")


class ConfigError(NodeError):
    """The configuration cannot be used; the node refuses to start."""

    default_exit_code = 3


class UsageError(NodeError):
    """A command was used in a way that makes no sense."""

    default_exit_code = 2


class InputError(NodeError):
    """Something that was given as input cannot be used."""

    default_exit_code = 3


class SafetyError(NodeError):
    """It could be done, but not safely."""

    default_exit_code = 4


class PeerError(NodeError):
    """A peer could not be reached, or refused us."""

    default_exit_code = 5


class StoreError(NodeError):
    """The storage folder or the database cannot be used."""
