"""What a training step sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import CONTRASTS
from tests.unit.training.cases import head_case, ring_labels
from training.sampling import Pattern, PatternSampler, Sampler, Stage, stage_at
from training.sampling.augment import Geometry, cut, spoil

SETS = [("T1", "T1C", "T2", "FLAIR"), ("T1", "FLAIR"), ("DWI", "ADC"), ("T1",)]


@given(st.sampled_from(list(Stage)), st.integers(0, 10_000))
@settings(max_examples=200, deadline=None)
def test_sources_and_targets_are_disjoint_and_some_case_has_them_all(stage: Stage, seed: int) -> None:
    pattern = PatternSampler(SETS, [1, 1, 1, 1]).draw(stage, np.random.default_rng(seed))
    assert pattern.sources and pattern.targets
    assert not set(pattern.sources) & set(pattern.targets)
    assert any(set(pattern.sources) | set(pattern.targets) <= set(s) for s in SETS)
    if stage in (Stage.ONE_TO_ONE, Stage.ONE_TO_MANY):
        assert len(pattern.sources) == 1
    if stage in (Stage.ONE_TO_ONE, Stage.MANY_TO_ONE):
        assert len(pattern.targets) == 1


def test_no_pair_of_contrasts_is_refused() -> None:
    with pytest.raises(ValueError, match="no case has two contrasts"):
        PatternSampler([("T1",), ("FLAIR",)], [1, 1])


def test_the_curriculum_goes_from_one_source_to_many_targets() -> None:
    assert [stage_at(p) for p in (0.0, 0.1, 0.3, 0.5, 0.9, 1.0)] == [
        Stage.ONE_TO_ONE, Stage.ONE_TO_ONE, Stage.MANY_TO_ONE, Stage.ONE_TO_MANY, Stage.MANY_TO_MANY,
        Stage.MANY_TO_MANY,
    ]  # fmt: skip


def test_cutting_without_change_returns_the_image() -> None:
    image = torch.rand(2, 33, 33)
    same = Geometry(angle=0.0, scale=1.0, mirror=False, centre=(16.0, 16.0))
    assert torch.allclose(cut(image, same, (33, 33)), image, atol=1e-5)
    mirrored = Geometry(angle=0.0, scale=1.0, mirror=True, centre=(16.0, 16.0))
    assert torch.allclose(cut(image, mirrored, (33, 33)), image.flip(-1), atol=1e-5)


def test_a_batch_holds_only_cases_that_have_the_pattern() -> None:
    cases = [head_case("a", ("T1", "T2", "FLAIR"), 1.0), head_case("b", ("T1", "FLAIR"), 0.5)]
    sampler = Sampler(cases, [1.0, 1.0], [], size=(160, 128), simulated=0.0)
    pattern = PatternSampler([("T2", "T1")], [1.0]).draw(Stage.ONE_TO_ONE, np.random.default_rng(0))
    batch = sampler.draw(pattern, 5, np.random.default_rng(1))
    assert batch.x.shape == (5, 1, 3, 160, 128) and batch.y.shape == (5, 1, 160, 128)
    inside = batch.brain[:, 0] > 0
    for k in range(5):
        assert batch.y[k, 0][inside[k]].max() > 0.55, "case b is half as bright and lacks T2"
    assert [CONTRASTS[i] for i in batch.sources + batch.targets] == [*pattern.sources, *pattern.targets]


def test_the_same_seed_gives_the_same_batch() -> None:
    sampler = Sampler(
        [head_case("a", ("T1", "FLAIR"), 1.0)], [1.0], [ring_labels()], size=(160, 128), simulated=0.5
    )
    pattern = PatternSampler([("T1", "FLAIR")], [1.0]).draw(Stage.ONE_TO_ONE, np.random.default_rng(2))
    one, other = (sampler.draw(pattern, 4, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


def test_a_simulated_head_has_the_physics_of_its_contrasts() -> None:
    head = ring_labels()
    slices = head.draw(CONTRASTS, np.random.default_rng(3))
    labels = head.labels[0]
    mean = {
        contrast: {
            tissue: float(np.median(slices.planes[contrast][1][(labels == code) & ~slices.lesion]))
            for code, tissue in ((1, "csf"), (2, "gm"), (3, "wm"))
        }
        for contrast in CONTRASTS
    }
    assert mean["T1"]["csf"] < mean["T1"]["gm"] < mean["T1"]["wm"]
    assert mean["T2"]["csf"] > mean["T2"]["gm"] > mean["T2"]["wm"]
    assert mean["FLAIR"]["csf"] < mean["FLAIR"]["wm"]
    assert mean["ADC"]["csf"] == pytest.approx(1.0, abs=0.35) and mean["ADC"]["wm"] < 0.45


def _slices() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(2)
    return torch.rand(6, 3, 3, 48, 48, generator=g), torch.rand(6, 3, 9, generator=g)


def test_a_spoilt_source_is_one_of_the_batch_and_the_others_are_left_alone() -> None:
    x, levels = _slices()
    seen = set()
    for seed in range(40):
        new, histogram, spoilt = spoil(x, levels, np.random.default_rng(seed), 1.0)
        assert int(spoilt.any(dim=0).sum()) <= 1
        assert torch.equal(new[~spoilt], x[~spoilt]) and torch.equal(histogram[~spoilt], levels[~spoilt])
        for b, k in spoilt.nonzero().tolist():
            assert float((new[b, k] - x[b, k]).abs().mean()) > 0.02
            if torch.equal(new[b, k].flatten().sort().values, x[b, k].flatten().sort().values):
                seen.add("moved")
            elif any(torch.equal(new[b, k], x[other, k]) for other in range(6)):
                seen.add("exchanged")
                assert not torch.equal(histogram[b, k], levels[b, k]), "the histogram goes with its image"
            elif not new[b, k][:, [0, -1], [0, -1]].any():
                seen.add("turned")  # its corners come from outside the field of view
                assert float((new[b, k] - x[b, k])[:, 23:25, 23:25].abs().mean()) < 0.4, "about the centre"
            else:
                seen.add("noise")
    assert seen == {"moved", "exchanged", "noise", "turned"}


def test_the_only_source_is_never_spoilt() -> None:
    x, levels = _slices()
    new, _, spoilt = spoil(x[:, :1], levels[:, :1], np.random.default_rng(1), 1.0)
    assert torch.equal(new, x[:, :1]) and not spoilt.any()


def test_a_case_keeps_its_site_but_for_every_fifth_sample() -> None:
    sampler = Sampler(
        [head_case("a", ("T1", "FLAIR"), 1.0)],
        [1.0],
        [ring_labels()],
        size=(64, 64),
        simulated=0.0,
        sites=[4],
    )
    pattern = PatternSampler([("T1", "FLAIR")], [1]).draw(Stage.ONE_TO_ONE, np.random.default_rng(0))
    sites = [int(v) for seed in range(30) for v in sampler.draw(pattern, 4, np.random.default_rng(seed)).site]
    assert set(sites) == {0, 4}
    assert 0.1 < sites.count(0) / len(sites) < 0.3


def test_a_seventh_contrast_is_drawn_by_its_place_in_the_networks_table() -> None:
    sampler = Sampler(
        [head_case("a", ("T1", "PD"), 1.0)], [1.0], [], size=(64, 64), simulated=0.0, contrasts=(*CONTRASTS, "PD")
    )  # fmt: skip
    batch = sampler.draw(Pattern(sources=("T1",), targets=("PD",)), 2, np.random.default_rng(0))
    assert (batch.sources, batch.targets) == ([0], [6])
