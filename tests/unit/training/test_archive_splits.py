"""Patients and their sides: nobody on two, nobody ever moved."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.archive import SPLITS, Shares, assign
from training.archive.splits import read_splits, write_splits
from training.errors import TrainingError

people = st.dictionaries(
    st.text("0123456789abcdef", min_size=4, max_size=8), st.sampled_from(("north", "south")), max_size=25
)
shares = st.sampled_from((Shares(), Shares(training=0.5, validation=0.25, calibration=0.25)))


@given(sites=people, shares=shares, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_every_patient_has_one_side_and_the_order_of_the_patients_does_not_matter(
    sites: dict[str, str], shares: Shares, seed: int
) -> None:
    made = assign(sites, shares=shares, seed=seed)
    assert set(made.of) == set(sites) and set(made.of.values()) <= set(SPLITS)
    assert assign(dict(reversed(sites.items())), shares=shares, seed=seed).of == made.of


@given(first=people, later=people, shares=shares, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_no_patient_moves_when_others_are_added(
    first: dict[str, str], later: dict[str, str], shares: Shares, seed: int
) -> None:
    before = assign(first, shares=shares, seed=seed)
    after = assign({**later, **first}, shares=shares, seed=seed, frozen=before.of)
    assert all(after.of[patient] == side for patient, side in before.of.items())
    assert set(after.of) == set(first) | set(later)
    assert set(after.added) == set(later) - set(first)


@given(sites=people.filter(lambda one: len(one) >= 3), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_three_patients_or_more_leave_one_to_validate_and_every_site_keeps_its_shares(
    sites: dict[str, str], seed: int
) -> None:
    made = assign(sites, shares=Shares(), seed=seed)
    assert "validation" in made.of.values() and "training" in made.of.values()
    for site in set(sites.values()):
        counts = Counter(made.of[patient] for patient in sites if sites[patient] == site)
        total = sum(counts.values())
        for side in SPLITS:
            assert abs(counts[side] - getattr(Shares(), side) * total) <= 1.6


@given(seed=st.integers(0, 999), rare=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_somebody_judges_what_others_learn_however_the_sides_fall(seed: int, rare: int) -> None:
    """Twelve patients of whom some show only diffusion: both who validate may be of those."""
    sites = dict.fromkeys((f"{n:02d}" for n in range(12)), "north")
    shown = {p: [["T2", "DWI"] if int(p) < rare else ["T1", "T2", "FLAIR"]] for p in sites}
    plain, made = (
        assign(sites, shares=Shares(), seed=seed),
        assign(sites, shares=Shares(), seed=seed, shown=shown),
    )
    assert Counter(made.of.values()) == Counter(plain.of.values()), "the shares stay"

    def pairs(side: str) -> set[tuple[str, str]]:
        return {
            (a, b) for p in made.patients(side) for study in shown[p] for a in study for b in study if a != b
        }

    assert pairs("validation") & pairs("training")
    assert made.of == plain.of or sum(made.of[p] != plain.of[p] for p in sites) == 2
    later = {**sites, "new": "north"}
    after = assign(later, shares=Shares(), seed=seed, frozen=made.of, shown={**shown, "new": [["T1", "T2"]]})
    assert all(after.of[p] == side for p, side in made.of.items())


def test_sides_that_would_leave_nothing_to_judge_exchange_two_patients() -> None:
    sites = dict.fromkeys((f"{n:02d}" for n in range(12)), "north")
    found = 0
    for seed in range(300):
        plain = assign(sites, shares=Shares(), seed=seed)
        judges = plain.patients("validation")
        shown = {p: [["DWI", "ADC"] if p in judges else ["T1", "T2"]] for p in sites}
        made = assign(sites, shares=Shares(), seed=seed, shown=shown)
        found += made.of != plain.of
        assert any(shown[p] == [["T1", "T2"]] for p in made.patients("validation"))
    assert found == 300


def test_a_hundred_patients_are_divided_seventy_fifteen_fifteen() -> None:
    made = assign({f"{n:04x}": "north" for n in range(100)}, shares=Shares(), seed=1)
    assert Counter(made.of.values()) == {"training": 70, "validation": 15, "calibration": 15}


def test_the_file_gives_back_what_was_frozen(tmp_path: Path) -> None:
    made = assign({"aa": "north", "bb": "north", "cc": "south"}, shares=Shares(), seed=7)
    write_splits(made, tmp_path / "splits.json")
    held = read_splits(tmp_path / "splits.json")
    assert held is not None
    assert (held.of, held.seed, held.shares) == (made.of, 7, Shares())
    assert read_splits(tmp_path / "absent.json") is None


def test_a_damaged_file_is_refused_and_not_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "splits.json"
    for content in ("{", '{"patients": {"aa": "holiday"}, "shares": {}, "seed": 1}', "[]"):
        file.write_text(content)
        with pytest.raises(TrainingError, match="would let patients change sides"):
            read_splits(file)


def test_shares_that_are_no_parts_of_a_whole_are_refused() -> None:
    with pytest.raises(TrainingError, match="add to 1"):
        Shares(training=0.9, validation=0.2, calibration=0.1)
