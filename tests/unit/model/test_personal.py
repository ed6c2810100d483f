"""PFM, and a network that learns a seventh contrast or another site without forgetting."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model import RequestError
from model.heads.level import LEVEL_FEATURES
from model.layers import ConvBlock, DenseBlock
from model.network import MedK2N, NetworkConfig
from model.personal import SITE_WIDTH
from model.personal.growth import add_contrast, add_site, settle

SITES = ("unknown", "north", "south")


def _network(sites: tuple[str, ...] = SITES) -> MedK2N:
    torch.manual_seed(3)
    network = MedK2N(NetworkConfig(sites=sites))
    with torch.no_grad():  # as after a training: what starts closed is open
        for parameter in network.parameters():
            if float(parameter.abs().sum()) == 0:
                parameter.normal_(0, 0.05)
    return network.eval()


def _image(network: MedK2N, sources: list[int], targets: list[int], site: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(5)
    x = torch.rand(2, len(sources), 3, 64, 64, generator=g)
    levels = torch.rand(2, len(sources), LEVEL_FEATURES, generator=g)
    return network(x, sources, targets, levels, site=torch.tensor([site, site])).images


@torch.no_grad()
def test_each_site_gets_images_of_its_own() -> None:
    network = _network()
    images = [_image(network, [0, 2], [3], site) for site in range(3)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert float((images[a] - images[b]).abs().max()) > 1e-4


@torch.no_grad()
def test_the_unknown_site_is_the_default() -> None:
    network = _network()
    g = torch.Generator().manual_seed(5)
    x, levels = torch.rand(2, 2, 3, 64, 64, generator=g), torch.rand(2, 2, LEVEL_FEATURES, generator=g)
    assert torch.allclose(network(x, [0, 2], [3], levels).images, _image(network, [0, 2], [3], 0), atol=1e-6)


@torch.no_grad()
def test_slices_of_several_sites_share_a_batch() -> None:
    network = _network()
    g = torch.Generator().manual_seed(5)
    x, levels = torch.rand(2, 2, 3, 64, 64, generator=g), torch.rand(2, 2, LEVEL_FEATURES, generator=g)
    mixed = network(x, [0, 2], [3], levels, site=torch.tensor([1, 2])).images
    assert torch.allclose(mixed[0], _image(network, [0, 2], [3], 1)[0], atol=1e-5)
    assert torch.allclose(mixed[1], _image(network, [0, 2], [3], 2)[1], atol=1e-5)


def test_every_convolution_block_behind_the_encoder_is_modulated() -> None:
    blocks = {n: m for n, m in _network().named_modules() if isinstance(m, ConvBlock | DenseBlock)}
    judged = {n for n in blocks if n.startswith("quality.")}  # it judges an image; where from is no excuse
    assert judged and {n for n, m in blocks.items() if m.site is None} == judged
    assert len(blocks) - len(judged) == 8


def test_a_gradient_reaches_the_code_and_every_block_it_modulates() -> None:
    network = _network().train()
    _image(network, [0, 2], [3], 1).square().mean().backward()
    still = [
        n for n, p in network.named_parameters()
        if (".site." in n or n.startswith("site.")) and (p.grad is None or float(p.grad.abs().max()) == 0)
    ]  # fmt: skip
    assert still == []
    rows = network.site.rows.weight.grad
    assert rows is not None and rows.shape == (3, SITE_WIDTH)
    assert float(rows[1].abs().max()) > 0 and float(rows[[0, 2]].abs().max()) == 0


def _train(network: MedK2N, parameters: list[torch.nn.Parameter], targets: list[int], site: int) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (_image(network, [0, 2], targets, site) - 0.7).square().mean().backward()
        optimizer.step()


def test_a_seventh_contrast_leaves_the_six_bit_equal() -> None:
    network = _network()
    with torch.no_grad():
        before = _image(network, [0, 2], [1, 3])
    grown, parameters = add_contrast(network, "PD")
    assert grown.config.contrasts[-1] == "PD"
    trained = {n for n, p in grown.named_parameters() if p.requires_grad}
    assert trained == {
        "source_embed.parametrizations.weight.original",
        "target_embed.parametrizations.weight.original",
        "preweight.parametrizations.memory.original",
    }
    with torch.no_grad():
        untrained = _image(grown, [0, 2], [6])
    _train(grown, parameters, [6], 0)
    settled = settle(grown).eval()
    with torch.no_grad():
        assert torch.equal(_image(settled, [0, 2], [1, 3]), before)
        assert float((_image(settled, [0, 2], [6]) - untrained).abs().max()) > 1e-3, "it learned nothing"
    assert settled.source_embed.weight.shape[0] == 7
    # As stored: an ordinary network of seven contrasts.
    again = MedK2N(settled.config).eval()
    again.load_state_dict(settled.state_dict())
    with torch.no_grad():
        assert torch.equal(_image(again, [0, 2], [6]), _image(settled, [0, 2], [6]))


def test_the_seventh_contrast_can_be_a_source() -> None:
    grown, _ = add_contrast(_network(), "PD")
    with torch.no_grad():
        assert torch.isfinite(_image(grown, [2, 6], [0, 3])).all()


def test_a_new_site_leaves_the_others_bit_equal() -> None:
    network = _network()
    with torch.no_grad():
        before = [_image(network, [0, 2], [3], site) for site in range(3)]
    grown, parameters = add_site(network, "east")
    with torch.no_grad():
        untrained = _image(grown, [0, 2], [3], 3)
    assert [n for n, p in grown.named_parameters() if p.requires_grad] == [
        "site.rows.parametrizations.weight.original"
    ]
    _train(grown, parameters, [3], 3)
    settled = settle(grown).eval()
    with torch.no_grad():
        for site in range(3):
            assert torch.equal(_image(settled, [0, 2], [3], site), before[site])
        assert float((_image(settled, [0, 2], [3], 3) - untrained).abs().max()) > 1e-3


@pytest.mark.parametrize(("grow", "name"), [(add_contrast, "FLAIR"), (add_site, "north")])
def test_what_is_known_is_refused_by_name(grow: object, name: str) -> None:
    with pytest.raises(RequestError, match=f"{name}: the network knows it already"):
        grow(_network(), name)  # type: ignore[operator]
