"""What can go wrong between an archive and a bundle, each error naming the thing, the reason and the cure."""

from __future__ import annotations


class TrainingError(Exception):
    """Base of every error that the package raises on purpose; `exit_code` is the command's."""

    exit_code = 3

    def __init__(self, *, code: str, subject: str, reason: str, cure: str) -> None:
        self.code = code
        self.subject = subject
        self.reason = reason
        self.cure = cure
        super().__init__(f"{subject}: {reason}. {cure}")


class PromotionRefused(TrainingError):
    """A challenger is worse than the model in service beyond the stated margin, or cannot be compared with it."""

    exit_code = 4
