"""The towers' own training: what open_clip builds is what a bundle runs, and both halves learn what they should."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import training.identity as identity_package
from model import CONTRASTS, ModelError
from model.identity import Identity, IdentityConfig, load_identity, save_identity
from tests.unit.training.cases import head_case, ring_labels
from training.archive import Case
from training.demonstration import VALIDATION
from training.identity import (
    DESCRIPTIONS,
    JUDGE,
    IdentityRecipe,
    SliceSampler,
    build_clip,
    draw_pool,
    fit,
    freeze,
    load_judge,
    open_local_clip,
    save_judge,
    vision_settings,
)

SMALL = IdentityConfig(layers=(1, 1, 1, 1), width=4, head_width=32, embed_dim=16, contrasts=("T1", "T2"))


def test_the_tower_without_open_clip_computes_what_open_clip_computes() -> None:
    config = IdentityConfig()
    clip = build_clip(vision_settings(config), config.embed_dim, seed=1)
    clip.visual.train()
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        clip.visual(x)  # batch statistics that are not those of an untrained norm
        for p in clip.visual.parameters():
            p.add_(0.02 * torch.randn_like(p))
    clip.eval()
    identity = freeze(clip, config, own_tower=True)
    count = sum(p.numel() for p in identity.visual.parameters())
    assert 300_000 <= count <= 500_000
    with torch.no_grad():
        assert torch.allclose(identity.visual(x), clip.visual(x), atol=1e-5)


def test_the_texts_become_a_buffer_of_unit_vectors() -> None:
    clip = build_clip(vision_settings(SMALL), SMALL.embed_dim, seed=1)
    identity = freeze(clip, SMALL, own_tower=True)
    assert torch.allclose(identity.text.norm(dim=1), torch.ones(2), atol=1e-5)
    assert float(identity.logit_scale) > 1


def test_every_contrast_is_described_by_fluid_grey_white_fat_and_lesion() -> None:
    assert tuple(DESCRIPTIONS) == CONTRASTS
    for name, sentences in DESCRIPTIONS.items():
        assert len(sentences) >= 3
        first = sentences[0].lower()
        for word in ("fluid", "grey", "white", "fat"):
            assert word in first, (name, word)
        assert any(w in " ".join(sentences) for w in ("lesion", "infarct")), name
    assert len({s for v in DESCRIPTIONS.values() for s in v}) == sum(map(len, DESCRIPTIONS.values()))


def _ventricles(name: str) -> Case:
    """Fluid in the middle, dark on T1 and bright on T2."""
    case = head_case(name, ("T1",), 1.0)
    _, y, x = np.mgrid[0:12, 0:160, 0:128]
    fluid = np.hypot((y - 80) / 60, (x - 64) / 48) < 0.45
    both = {
        "T1": np.where(fluid, 0.15, 0.7) * case.brain,
        "T2": np.where(fluid, 0.9, 0.35) * case.brain,
    }
    return replace(
        case,
        contrasts={k: v.astype(np.float16) for k, v in both.items()},
        quantiles=dict.fromkeys(both, case.quantiles["T1"]),
    )


def test_slices_are_labelled_balanced_and_filled() -> None:
    case = _ventricles("a")
    sampler = SliceSampler([case], [ring_labels()], ("T1", "T2", "FLAIR"))
    images, labels = sampler.draw(12, np.random.default_rng(0))
    assert images.shape[:2] == (12, 1) and np.bincount(labels).tolist() == [4, 4, 4]
    assert float(images.amax(dim=(1, 2, 3)).min()) > 0 and bool(torch.isfinite(images).all())


def test_a_short_training_tells_two_contrasts_apart(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    case = _ventricles("a")
    recipe = IdentityRecipe(
        steps=40, batch=16, pool=64, text_steps=20, warmup=5, learning_rate=3e-3, average=0.9
    )
    pool = draw_pool(SliceSampler([case], [], SMALL.contrasts), recipe.pool, SMALL.image_size, 3)
    said: list[str] = []
    clip = fit(vision_settings(SMALL), SMALL, pool, recipe, report=said.append)
    identity = freeze(clip, SMALL, own_tower=True)
    images, labels = SliceSampler([case], [], SMALL.contrasts).draw(24, np.random.default_rng(5))
    right = (identity.logits(images).argmax(dim=1) == labels).float().mean()
    assert float(right) > 0.8
    assert said[0].startswith("sentences apart")
    save_identity(tmp_path, identity, {"recipe": recipe.to_json()})
    assert load_identity(tmp_path) is not None


def test_the_same_seed_gives_the_same_tower() -> None:
    torch.set_num_threads(1)
    recipe = IdentityRecipe(steps=3, batch=8, pool=12, text_steps=2, warmup=1)
    pool = draw_pool(SliceSampler([_ventricles("a")], [], SMALL.contrasts), recipe.pool, SMALL.image_size, 3)
    one, other = (fit(vision_settings(SMALL), SMALL, pool, recipe, report=lambda _: None) for _ in range(2))
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_the_judge_is_another_build_and_comes_back_as_it_was(tmp_path: Path) -> None:
    config = IdentityConfig(image_size=int(JUDGE["image_size"]))
    judge = freeze(build_clip(JUDGE, config.embed_dim, seed=2), config, own_tower=False)
    assert type(judge.visual).__name__ != type(Identity(IdentityConfig()).visual).__name__
    save_judge(tmp_path, judge, {"patients": 1})
    loaded = load_judge(tmp_path)
    y = torch.rand(2, 1, 70, 60)
    assert torch.allclose(loaded.logits(y), judge.logits(y), atol=5e-2)
    assert not any(p.requires_grad for p in loaded.parameters())
    spoilt = bytearray((tmp_path / "judge.safetensors").read_bytes())
    spoilt[-1] ^= 1
    (tmp_path / "judge.safetensors").write_bytes(spoilt)
    with pytest.raises(ModelError, match="sha256"):
        load_judge(tmp_path)


def test_a_local_folder_in_open_clips_layout_can_be_used_in_place(tmp_path: Path) -> None:
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
    from safetensors.torch import save_file

    with pytest.raises(
        ModelError, match=r"holds no open_clip_config.json and no open_clip_model.safetensors"
    ):
        open_local_clip(tmp_path)
    vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
    text = {"context_length": 24, "width": 32, "heads": 2, "layers": 1}
    model = CustomTextCLIP(16, CLIPVisionCfg(**vision), CLIPTextCfg(**text))
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "custom_text": True},
              "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}  # fmt: skip
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    clip, tokeniser = open_local_clip(tmp_path)
    x, tokens = torch.rand(1, 3, 32, 32), tokeniser(["a T2 weighted image"])
    with torch.no_grad():
        assert torch.allclose(clip.encode_image(x), model.eval().encode_image(x), atol=1e-5)
        assert clip.encode_text(tokens).shape == (1, 16)
    identity = freeze(clip, IdentityConfig(embed_dim=16, image_size=32), own_tower=False, tokeniser=tokeniser)
    assert identity.logits(torch.rand(2, 1, 40, 30)).shape == (2, 6)


def test_the_judge_that_travels_never_saw_what_the_networks_are_judged_on() -> None:
    judge = load_judge()
    facts = json.loads((Path(identity_package.__file__).parent / "demo" / "judge.json").read_text())["facts"]
    assert judge.contrasts == CONTRASTS
    assert set(facts["held_out"]) == set(VALIDATION)
    assert facts["figures"]["volumes_t1_t1c_as_one"] >= 0.85
    assert facts["recipe"]["seed"] != IdentityRecipe().seed
