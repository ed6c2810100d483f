"""SAM 2.1 weights and adapters: every name and shape is that of the sam2 package's own model, every adapter learns."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from hydra import compose
from hydra.utils import instantiate
from sam2.build_sam import build_sam2
from sam2.modeling.backbones.hieradet import Hiera
from torch import nn

from model.encoder import (
    ENCODERS,
    AdapterError,
    CheckpointError,
    EncoderConfig,
    ImageEncoder,
    add_lora,
    load_lora_state,
    load_sam2_checkpoint,
    lora_plus_groups,
    lora_state,
    merge_lora,
)
from model.heads.level import LEVEL_FEATURES
from model.network import MedK2N, NetworkConfig

STOCK = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in module.state_dict().items()}


@pytest.mark.parametrize("name", STOCK)
def test_every_size_has_the_names_and_shapes_of_the_sam2_packages_own_model(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hiera reads its drop-path rates out of a tensor, which "meta" tensors do not allow.
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        stock = instantiate(
            compose(config_name=f"configs/sam2.1/sam2.1_hiera_{STOCK[name]}.yaml").model.image_encoder,
            _recursive_=True,
        )
        ours = ImageEncoder(ENCODERS[name])
    assert _shapes(ours) == _shapes(stock)
    stock_windows = (8, 4, 16, 8) if name == "large" else (8, 4, 14, 7)
    assert tuple(stock.trunk.window_spec) == stock_windows, "windows may differ: they change no shape"
    assert tuple(ours.trunk.window_spec) == (8, 4, 16, 8)
    assert ours.trunk.global_att_blocks == stock.trunk.global_att_blocks


@pytest.mark.parametrize("size", [(256, 256), (160, 128), (64, 96)], ids=str)
@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_tokens_kept_in_windows_give_the_stock_trunks_maps(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    trunk = ImageEncoder(ENCODERS[name]).eval().trunk
    x = torch.rand(2, 3, *size)
    with torch.inference_mode():
        found, stock = trunk(x), Hiera.forward(trunk, x)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, stock, strict=True))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A file as SAM 2 publishes it, written by the package's own model of the smallest size."""
    torch.manual_seed(5)
    sam = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", apply_postprocessing=False)
    with torch.no_grad():
        sam.image_encoder.trunk.pos_embed.normal_(0, 0.02)
    path = tmp_path_factory.mktemp("sam2") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": sam.state_dict()}, path)
    return path, sam


def test_an_official_checkpoint_gives_the_packages_own_features(checkpoint: tuple[Path, nn.Module]) -> None:
    path, sam = checkpoint
    network = MedK2N(NetworkConfig(encoder="tiny"))
    digest = load_sam2_checkpoint(network, path)
    assert network.config.sam2_checkpoint == digest and len(digest) == 64
    # One window rule for both, so that only the weights can make a difference.
    network.encoder.trunk.window_spec = sam.image_encoder.trunk.window_spec
    for block, theirs in zip(network.encoder.trunk.blocks, sam.image_encoder.trunk.blocks, strict=True):
        block.window_size = theirs.window_size
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        ours = network.encoder.eval()(x)
        trunk = sam.image_encoder.trunk((x - mean[:, None, None]) / std[:, None, None])
        theirs, _ = sam.image_encoder.neck(trunk)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_statistics_of_sam2_are_used_only_with_its_weights() -> None:
    torch.manual_seed(0)
    own = ImageEncoder(ENCODERS["nano"]).eval()
    theirs = ImageEncoder(ENCODERS["nano"], sam2_input=True).eval()
    theirs.load_state_dict(own.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(own(x)[0], theirs(x)[0], atol=1e-3)
    assert not MedK2N().encoder.sam2_input
    assert MedK2N(NetworkConfig(sam2_checkpoint="0" * 64)).encoder.sam2_input
    again = NetworkConfig.from_json(NetworkConfig(sam2_checkpoint="ab").to_json())
    assert again.sam2_checkpoint == "ab"


def test_a_checkpoint_of_another_size_is_refused_by_its_keys(checkpoint: tuple[Path, nn.Module]) -> None:
    network = MedK2N()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    shape = r"neck.convs.0.conv.bias \(256,\) for \(64,\)"
    with pytest.raises(CheckpointError, match=rf"encoder nano .* unexpected: trunk.* shape: {shape}"):
        load_sam2_checkpoint(network, checkpoint[0])
    assert network.config.sam2_checkpoint is None and not network.encoder.sam2_input
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_missing_and_unexpected_names_are_both_told(tmp_path: Path) -> None:
    network = MedK2N()
    state = {f"image_encoder.{k}": v for k, v in network.encoder.state_dict().items()}
    state["image_encoder.trunk.extra"] = state.pop("image_encoder.trunk.pos_embed")
    torch.save({"model": state}, tmp_path / "sam.pt")
    with pytest.raises(CheckpointError, match="1 missing: trunk.pos_embed; 1 unexpected: trunk.extra"):
        load_sam2_checkpoint(network, tmp_path / "sam.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        (b"not a checkpoint", "cannot be read as a PyTorch checkpoint"),
        ({"state": 1}, "it is not"),
        ({"model": {"memory_encoder.x": torch.zeros(1)}}, "no name in it begins with image_encoder."),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: object, words: str) -> None:
    path = tmp_path / "sam.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=words):
        load_sam2_checkpoint(MedK2N(), path)


def _adapted(rank: int = 4, open_b: bool = True) -> tuple[MedK2N, tuple[str, ...]]:
    torch.manual_seed(2)
    network = MedK2N()
    names = add_lora(network, rank)
    if open_b:
        g = torch.Generator().manual_seed(3)
        for name, p in network.encoder.named_parameters():
            if ".lora_B." in name:
                p.data.copy_(0.05 * torch.randn(p.shape, generator=g))
    return network, names


def _image(network: MedK2N) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    x, levels = torch.rand(1, 2, 3, 64, 64, generator=g), torch.rand(1, 2, LEVEL_FEATURES, generator=g)
    return network(x, [0, 2], [3], levels).images


def test_every_attention_projection_takes_an_adapter_and_the_image_stays_at_first() -> None:
    torch.manual_seed(2)
    network = MedK2N().eval()
    with torch.no_grad():
        before = _image(network)
        names = add_lora(network)
        assert torch.equal(_image(network), before)
    assert names == tuple(f"trunk.blocks.{k}.attn.{p}" for k in range(8) for p in ("qkv", "proj"))
    assert {v.shape[0] for k, v in lora_state(network).items() if k.endswith("lora_A")} == {16}
    with pytest.raises(AdapterError, match="has adapters already"):
        add_lora(network)


def test_tiny_takes_24_adapters() -> None:
    network = nn.Module()
    network.encoder = ImageEncoder(ENCODERS["tiny"])
    assert len(add_lora(network)) == 24


def test_only_adapters_learn_in_the_encoder_and_everything_outside_it_does() -> None:
    network, names = _adapted()
    network.train()
    _image(network).square().mean().backward()
    for name, p in network.encoder.named_parameters():
        if ".lora_" in name:
            assert p.grad is not None and float(p.grad.abs().max()) > 0, name
        else:
            assert p.grad is None and not p.requires_grad, name
    assert float(network.multiscale.fine.conv.weight.grad.abs().max()) > 0
    assert len(names) == 16


def test_lora_plus_lets_b_learn_sixteen_times_as_fast() -> None:
    network, names = _adapted()
    groups = {g["name"]: g for g in lora_plus_groups(network, lr=1e-4, weight_decay=0.02)}
    assert groups["lora_B"]["lr"] == pytest.approx(16e-4) and groups["lora_A"]["lr"] == pytest.approx(1e-4)
    assert len(groups["lora_A"]["params"]) == len(groups["lora_B"]["params"]) == len(names)
    assert groups["lora_A"]["weight_decay"] == 0 and groups["decay"]["weight_decay"] == 0.02
    listed = [id(p) for g in groups.values() for p in g["params"]]
    assert sorted(listed) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    optimizer = torch.optim.SGD(list(groups.values()))
    state = lora_state(network)
    for p in network.parameters():
        p.grad = torch.ones_like(p) if p.requires_grad else None
    optimizer.step()
    moved = {k: float((v - state[k]).abs().max()) for k, v in lora_state(network).items()}
    assert moved[f"{names[0]}.lora_B"] == pytest.approx(16 * moved[f"{names[0]}.lora_A"], rel=1e-2)


def test_merged_equals_unmerged_and_bears_the_old_names() -> None:
    network, names = _adapted()
    network.eval()
    old = set(MedK2N().state_dict())
    with torch.no_grad():
        plain = _image(MedK2N(network.config).eval())
        unmerged = _image(network)
        assert merge_lora(network) == names
        merged = _image(network)
    assert torch.allclose(merged, unmerged, atol=1e-5)
    assert not torch.allclose(merged, plain, atol=1e-3)
    assert set(network.state_dict()) == old
    with pytest.raises(AdapterError, match="has no adapters"):
        merge_lora(network)


def test_adapters_travel_alone_and_come_back_exactly() -> None:
    network, _ = _adapted()
    state = lora_state(network)
    share = sum(v.numel() for v in state.values()) / sum(p.numel() for p in network.encoder.parameters())
    assert share < 0.05
    other, _ = _adapted(open_b=False)
    with torch.no_grad():
        assert not torch.equal(_image(network.eval()), _image(other.eval()))
        load_lora_state(other, state)
        assert torch.equal(_image(network), _image(other))
    wrong, _ = _adapted(rank=2)
    with pytest.raises(AdapterError, match=r"of another shape: trunk.blocks.0.attn.proj.lora_A"):
        load_lora_state(wrong, state)
    with pytest.raises(AdapterError, match="missing: trunk"):
        load_lora_state(other, {})


def test_an_encoder_without_the_expected_names_is_no_silent_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.encoder.lora.TARGETS", r"trunk\.blocks\.\d+\.attn\.(q|k|v)_proj")
    with pytest.raises((AdapterError, ValueError), match="(took an adapter|not found)"):
        add_lora(MedK2N())


def test_a_config_may_name_other_windows_without_other_shapes() -> None:
    for windows in ((8, 4, 14, 7), (8, 4, 12, 6)):
        other = EncoderConfig(
            **{**ENCODERS["nano"].__dict__, "window_spec": windows},
        )
        assert _shapes(ImageEncoder(other)) == _shapes(ImageEncoder(ENCODERS["nano"]))
