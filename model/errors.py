"""What can go wrong with images and weights, each error naming the thing, the reason and the cure.

ModelError
  ImagingError   an input image cannot be used (code: blank, not_a_brain, registration, shape, affine)
  RequestError   the call asks for what the network cannot do (code: sources, targets, contrast)
  BundleError    a bundle is absent, changed or does not fit the code (code: missing, digest, keys, schema)
"""

from __future__ import annotations


class ModelError(Exception):
    """Base of every error that the package raises on purpose."""

    def __init__(self, *, code: str, subject: str, reason: str, cure: str) -> None:
        self.code = code
        self.subject = subject
        self.reason = reason
        self.cure = cure
        super().__init__(f"{subject}: {reason}. {cure}")


class ImagingError(ModelError):
    """An input image cannot be used."""


class RequestError(ModelError):
    """The call asks for what the network cannot do."""


class BundleError(ModelError):
    """A bundle is absent, was changed, or does not fit the code."""
