"""What the DICOM rules refuse, in words a person can act on.

    RuleError            the rules cannot accept what they were given
    |-- ClassifyError    headers that do not belong to one series, or a rule file that is not valid
    |-- ProtocolError    a file of protocols that is not valid
    |-- GeometryError    instances that do not form one regular volume
    +-- EncodeError      a result that cannot be written as a valid object

Every error names the thing (`subject`), why it was refused (`reason`) and what would help (`cure`);
`code` is the stable word that programs match on. No field ever holds patient data: objects are named by
their UIDs.
"""

from __future__ import annotations


class RuleError(Exception):
    """The rules cannot accept what they were given; str() is "subject: reason. cure"."""

    def __init__(self, *, code: str, subject: str, reason: str, cure: str) -> None:
        self.code = code
        self.subject = subject
        self.reason = reason
        self.cure = cure
        super().__init__(f"{subject}: {reason}. {cure}")

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only errors do not pickle by themselves, and these cross process borders in a workflow.
        return _rebuild, (type(self), self.code, self.subject, self.reason, self.cure)


class ClassifyError(RuleError):
    """The headers given are not those of one series, or a rule file is not valid."""


class ProtocolError(RuleError):
    """A protocol does not say in a valid way which contrasts an examination should have."""


class GeometryError(RuleError):
    """The instances do not form one regular volume; the file or position at fault is named."""


class EncodeError(RuleError):
    """The result cannot be written as a valid DICOM object."""


def _rebuild(kind: type[RuleError], code: str, subject: str, reason: str, cure: str) -> RuleError:
    return kind(code=code, subject=subject, reason=reason, cure=cure)
