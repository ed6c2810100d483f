"""CMIM: the tower stays frozen, the gradient reaches the image, and what is on disk is what was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model import BundleError, Image, ImagingError
from model.identity import (
    Identity,
    IdentityConfig,
    identity_probabilities,
    load_identity,
    save_identity,
    standardise,
    vote,
)
from training.losses import cmim_loss

NAMES = ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC")


@pytest.fixture
def identity() -> Identity:
    torch.manual_seed(0)
    identity = Identity(IdentityConfig(layers=(1, 1, 1, 1), width=4, head_width=32, embed_dim=16))
    with torch.no_grad():
        identity.text.copy_(torch.nn.functional.normalize(torch.randn(6, 16), dim=-1))
        identity.logit_scale.fill_(10.0)
    return identity


def _slices(count: int, channels: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, channels, 64, 48, generator=torch.Generator().manual_seed(seed))


def test_both_losses_reach_the_synthetic_image_and_leave_the_tower_alone(identity: Identity) -> None:
    identity.train()  # as a training loop does with everything it holds
    before = {k: v.clone() for k, v in identity.state_dict().items()}
    for index in (0, 1):
        y_hat = _slices(2, 2).requires_grad_()
        loss = cmim_loss(identity, y_hat, _slices(2, 2, 1), ("T1", "FLAIR"), _slices(2, 3, 2), margin=1.0)
        loss[index].backward()
        assert y_hat.grad is not None and float(y_hat.grad.abs().amax(dim=(2, 3)).min()) > 0
    assert not identity.training
    assert all(p.grad is None and not p.requires_grad for p in identity.parameters())
    assert all(torch.equal(v, before[k]) for k, v in identity.state_dict().items())


def test_a_step_along_the_gradient_makes_the_image_more_its_own_contrast(identity: Identity) -> None:
    y_hat = _slices(1, 1).requires_grad_()
    real, own = _slices(1, 1, 1), NAMES.index("T2")
    causal, _ = cmim_loss(identity, y_hat, real, ("T2",))
    causal.backward()
    assert y_hat.grad is not None
    with torch.no_grad():
        before = identity.logits(y_hat).softmax(dim=1)[0, own]
        after = identity.logits(y_hat - 0.5 * y_hat.grad.sign() * 0.05).softmax(dim=1)[0, own]
    assert float(after) > float(before)


def test_the_causal_term_is_the_cross_entropy_over_all_descriptions(identity: Identity) -> None:
    y_hat = _slices(1, 1)
    causal, _ = cmim_loss(identity, y_hat, y_hat, ("FLAIR",))
    similarity = identity.embed(y_hat) @ identity.text.T * 10.0
    by_hand = -(similarity[0, 3] - similarity[0].exp().sum().log())
    assert float(causal) == pytest.approx(float(by_hand), abs=1e-5)


def test_the_metric_term_is_the_hinge_over_every_real_slice_of_another_contrast(identity: Identity) -> None:
    y_hat, y, others = _slices(1, 2), _slices(1, 2, 1), _slices(1, 1, 2)
    _, metric = cmim_loss(identity, y_hat, y, ("T1", "T2"), others, margin=0.3)
    g = [identity.embed(y_hat[:, j : j + 1])[0] for j in range(2)]
    r = [identity.embed(v)[0] for v in (y[:, :1], y[:, 1:], others)]
    terms = [
        max(0.0, 0.3 + float(1 - g[j] @ r[j]) - float(1 - g[j] @ r[k]))
        for j in range(2)
        for k in range(3)
        if k != j
    ]
    assert float(metric) == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_a_contrast_that_the_tower_does_not_know_takes_no_part(identity: Identity) -> None:
    y_hat, y = _slices(2, 2), _slices(2, 2, 1)
    both = cmim_loss(identity, y_hat, y, ("SWI", "T2"))
    alone = cmim_loss(identity, y_hat[:, 1:], y[:, 1:], ("T2",), y[:, :1])
    assert [float(v) for v in both] == pytest.approx([float(v) for v in alone], abs=1e-6)
    assert [float(v) for v in cmim_loss(identity, y_hat[:, :1], y[:, :1], ("SWI",))] == [0.0, 0.0]


def test_gain_and_padding_do_not_change_what_an_image_is(identity: Identity) -> None:
    y = _slices(3, 1)
    assert torch.allclose(identity.logits(y), identity.logits(1000 * y), atol=1e-3)
    square = torch.nn.functional.pad(y, (8, 8))
    assert torch.allclose(identity.logits(y), identity.logits(square), atol=1e-3)
    shown = standardise(y, 64)
    assert shown.shape == (3, 3, 64, 64) and float(shown.abs().max()) <= 2


def test_probabilities_of_a_volume_sum_to_one_and_look_inside_the_brain_only(identity: Identity) -> None:
    rng = np.random.default_rng(0)
    array = rng.random((9, 60, 50), dtype=np.float32)
    brain = np.zeros(array.shape, bool)
    brain[2:8, 10:50, 8:40] = True
    p = identity_probabilities(identity, array, brain)
    assert tuple(p) == NAMES and sum(p.values()) == pytest.approx(1.0, abs=1e-5)
    elsewhere = np.where(brain, array, 7.0).astype(np.float32)
    assert identity_probabilities(identity, elsewhere, brain) == pytest.approx(p, abs=1e-5)
    with pytest.raises(ImagingError, match="no image inside the brain"):
        identity_probabilities(identity, np.zeros_like(array), brain)


def test_a_vote_does_not_depend_on_how_the_array_is_stored(identity: Identity) -> None:
    z, y, x = np.mgrid[0:20, 0:60, 0:50].astype(np.float32)
    head = ((y - 30) / 24) ** 2 + ((x - 25) / 18) ** 2 + ((z - 10) / 9) ** 2 < 1
    array = np.where(head, 100 + 5 * y + 3 * x + 2 * z, 0).astype(np.float32)
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    p = vote(Image(array=array, affine=affine), identity)
    assert sum(p.values()) == pytest.approx(1.0, abs=1e-5)
    turned = affine.copy()
    turned[1, 1], turned[1, 3] = -1.0, 59.0
    again = vote(Image(array=np.ascontiguousarray(array[:, ::-1]), affine=turned), identity)
    assert again == pytest.approx(p, abs=1e-5)
    with pytest.raises(ImagingError, match="no head stands out"):
        vote(Image(array=np.zeros((4, 8, 8), np.float32), affine=affine), identity)


def test_what_is_saved_is_what_is_loaded(identity: Identity, tmp_path: Path) -> None:
    assert load_identity(tmp_path) is None
    digest = save_identity(tmp_path, identity, {"patients": 3})
    loaded = load_identity(tmp_path)
    assert loaded is not None and loaded.contrasts == NAMES and not loaded.training
    assert json.loads((tmp_path / "identity.json").read_text())["sha256"] == digest
    y = _slices(2, 1)
    assert torch.allclose(loaded.logits(y), identity.logits(y), atol=2e-2), (
        "weights are kept in half precision"
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "identity.safetensors").unlink(), "identity.safetensors is not there"),
        (lambda f: (f / "identity.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "identity.json").write_text('{"schema": 9}'), "is not of schema 1"),
        (
            lambda f: (f / "identity.safetensors").write_bytes(
                bytes(b ^ 1 for b in (f / "identity.safetensors").read_bytes())
            ),
            "has sha256",
        ),
        (
            lambda f: (f / "identity.json").write_text(
                (f / "identity.json").read_text().replace('"width": 4', '"width": 8')
            ),
            "other shape: visual.attnpool.c_proj.weight",
        ),
    ],
)
def test_a_spoiled_file_is_refused_and_named(identity: Identity, tmp_path: Path, spoil, words: str) -> None:
    save_identity(tmp_path, identity, {})
    spoil(tmp_path)
    with pytest.raises(BundleError, match=words):
        load_identity(tmp_path)
