"""Fixtures of the tests of training."""

from __future__ import annotations

import pytest

import training.archive.prepare
from tests.unit.training.small_archive import quick_brain_mask, quick_register


@pytest.fixture
def quick_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither brain search nor registration."""
    monkeypatch.setattr(training.archive.prepare, "brain_mask", quick_brain_mask)
    monkeypatch.setattr(training.archive.prepare, "register", quick_register)
