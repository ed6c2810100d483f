"""Who a patient is, without saying it: keyed digests, with a salt that never leaves the archive's own file.

A plain hash of a patient's number can be undone by trying all numbers; without the salt this one cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError

LENGTH = 16
"""Hexadecimal digits: of a million patients two share them with a chance of 1 in 36 million."""
SALT_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """Digests under one salt: the same person or study gives the same word wherever this salt is used."""

    salt: bytes

    def of(self, kind: str, *words: str) -> str:
        """The word for a thing of this kind (patient, study, series) that `words` name."""
        message = "\0".join((kind, *words)).encode("utf-8", errors="surrogateescape")
        return hmac.new(self.salt, message, hashlib.sha256).hexdigest()[:LENGTH]

    @property
    def mark(self) -> str:
        """What tells two salts apart and does not give them away."""
        return self.of("salt")


def new_salt() -> bytes:
    """A salt that nobody can guess."""
    return secrets.token_bytes(SALT_BYTES)


def salt_of(file: Path) -> bytes:
    """The salt in `file`, which is made, readable by its owner alone, where it does not exist.

    Raises:
        TrainingError: the file holds something else.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        part.touch(mode=0o600)
        part.chmod(0o600)
        part.write_text(new_salt().hex() + "\n")
        part.rename(file)
    text = file.read_text().strip()
    try:
        salt = bytes.fromhex(text)
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES:
        raise TrainingError(
            code="salt",
            subject=str(file),
            reason=f"it holds no salt of {SALT_BYTES} bytes",
            cure="Restore it: without it no patient of the archive can be recognised again",
        )
    return salt
