"""Networks to compare with, small, from their papers or from MONAI.

All take slices of the sources that are there and give the targets; a contrast that is missing is a channel of zeros
(MM-GAN's imputation, and what channel dropout means for a plain U-Net). C contrasts in the table, B slices, K
sources, N targets.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.losses import Weights, charbonnier, ssim_map
from training.sampling import Batch

#: Weights of the terms that every peer shares with Med-K2N.
WEIGHTS = Weights()


class PlainUNet(nn.Module):
    """Four levels of two 3x3 convolutions, as everybody writes it: (B, inputs, H, W) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(_two(a, b) for a, b in zip([inputs, *widths], widths, strict=False))
        self.up = nn.ModuleList(_two(b + a, a) for a, b in pairwise(widths))
        self.out = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for block in self.down[:-1]:
            x = block(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for block, skip in zip(reversed(self.up), reversed(kept), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], dim=1))
        return torch.as_tensor(self.out(x))


def _two(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [nn.Conv2d(before, outputs, 3, padding=1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)


def dyn_unet(inputs: int, outputs: int, width: int) -> nn.Module:
    """MONAI's DynUNet (the network of nnU-Net) in two dimensions: (B, inputs, H, W) -> (B, outputs, H, W)."""
    from monai.networks.nets.dynunet import DynUNet

    levels = 5
    return DynUNet(
        spatial_dims=2,
        in_channels=inputs,
        out_channels=outputs,
        kernel_size=[3] * levels,
        strides=[1, *[2] * (levels - 1)],
        upsample_kernel_size=[2] * (levels - 1),
        filters=[min(width * 2**level, 320) for level in range(levels)],
    )


def image_loss(made: Tensor, batch: Batch, w: Weights = WEIGHTS) -> Tensor:
    """Error and structure as Med-K2N is taught them: brain 1, background and lesion by `Weights`. made (B, N, H, W)."""
    y = batch.y
    weight = batch.brain + w.outside * (1 - batch.brain) + w.lesion * batch.lesion * batch.brain
    error = (charbonnier(made - y) * weight).sum() / weight.expand_as(y).sum().clamp_min(1.0)
    inside = batch.brain.expand_as(y)
    structure = ssim_map(made.clamp(0, 1.2) * inside, y.clamp(0, 1.2) * inside)
    ssim = 1 - (structure * inside).sum() / inside.sum().clamp_min(1.0)
    return w.error * error + w.ssim * ssim


class Peer(nn.Module):
    """A peer that one optimiser teaches. `contrasts` is how many the table has; labels are positions in it."""

    def __init__(self, contrasts: int) -> None:
        super().__init__()
        self.contrasts = contrasts

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Who learns against whom: the parameters of each, each with an optimiser of its own."""
        return {"network": list(self.parameters())}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """What that player makes smaller."""
        return image_loss(self(batch.x, batch.sources, batch.targets), batch)

    def imputed(self, x: Tensor, sources: list[int]) -> Tensor:
        """(B, K, 3, H, W) -> (B, 3C, H, W), zeros where a contrast is missing."""
        full = x.new_zeros(x.shape[0], self.contrasts, *x.shape[2:])
        full[:, sources] = x
        return full.flatten(1, 2)


class ChannelPeer(Peer):
    """Any network from 3C channels to C images: the plain U-Net with channel dropout, and DynUNet."""

    def __init__(self, contrasts: int, network: nn.Module) -> None:
        super().__init__(contrasts)
        self.network = network

    def forward(self, x: Tensor, sources: list[int], targets: list[int]) -> Tensor:
        """(B, K, 3, H, W) -> (B, N, H, W)."""
        return self.network(self.imputed(x, sources))[:, targets]


class MMGAN(Peer):
    """MM-GAN (Sharma and Hamarneh, IEEE TMI 2020) in small form: one generator for every pattern.

    From the paper: missing contrasts imputed by zeros, a U-Net of strided 4x4 convolutions, a PatchGAN that says for
    every contrast of the stack whether it is real (least squares), L1 on the missing ones alone, 0.9 L1 + 0.1
    adversarial, and at the discriminator the real sources in place of what the generator says of them. Left out: the
    order from easy to hard, since all peers see the same patterns.
    """

    ERROR, ADVERSARIAL = 0.9, 0.1

    def __init__(self, contrasts: int, width: int, levels: int = 5) -> None:
        super().__init__(contrasts)
        widths = [width * min(2**level, 8) for level in range(levels)]
        self.down = nn.ModuleList(
            _strided(a, b, normed=k > 0) for k, (a, b) in enumerate(pairwise([3 * contrasts, *widths]))
        )
        above = list(reversed(widths))
        self.up = nn.ModuleList()
        before = above[0]
        for own in [*above[1:], width]:
            self.up.append(_upsampled(before, own))
            before = 2 * own
        self.out = nn.Conv2d(width + 3 * contrasts, contrasts, 3, padding=1)
        self.judge = nn.Sequential(
            _strided(contrasts, width, normed=False), _strided(width, 2 * width), _strided(2 * width, 4 * width),
            nn.Conv2d(4 * width, contrasts, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor, sources: list[int], targets: list[int]) -> Tensor:
        """(B, K, 3, H, W) -> (B, N, H, W)."""
        given = self.imputed(x, sources)
        skips, h = [given], given
        for block in self.down:
            h = block(h)
            skips.append(h)
        skips.pop()
        for block in self.up:
            h = torch.cat([block(h), skips.pop()], dim=1)
        return self.out(h)[:, targets]

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Generator and discriminator."""
        judge = list(self.judge.parameters())
        mine = {id(p) for p in judge}
        return {"generator": [p for p in self.parameters() if id(p) not in mine], "discriminator": judge}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Least squares against the other player, and L1 for the generator."""
        made = self(batch.x, batch.sources, batch.targets)
        stack = batch.x.new_zeros(batch.x.shape[0], self.contrasts, *batch.x.shape[-2:])
        stack[:, batch.sources] = batch.x[:, :, 1]  # the real sources, whatever was said of them
        seen = [*batch.sources, *batch.targets]
        if player == "generator":
            stack[:, batch.targets] = made * batch.brain
            fooled = (self.judge(stack)[:, batch.targets] - 1).square().mean()
            weight = batch.brain + WEIGHTS.outside * (1 - batch.brain)
            error = ((made - batch.y).abs() * weight).sum() / weight.expand_as(made).sum().clamp_min(1.0)
            return self.ERROR * error + self.ADVERSARIAL * fooled
        wanted = stack.new_zeros(len(seen))
        wanted[: len(batch.sources)] = 1.0
        stack[:, batch.targets] = made.detach() * batch.brain
        half = (self.judge(stack)[:, seen] - wanted[:, None, None]).square().mean()
        stack = stack.clone()
        stack[:, batch.targets] = batch.y * batch.brain
        return 0.5 * half + 0.5 * (self.judge(stack)[:, seen] - 1).square().mean()


def _strided(inputs: int, outputs: int, normed: bool = True) -> nn.Sequential:
    norm = [nn.InstanceNorm2d(outputs)] if normed else []
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), *norm, nn.LeakyReLU(0.2))


def _upsampled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.InstanceNorm2d(outputs), nn.ReLU()
    )


class MMSynth(Peer):
    """MM-Synth (Chartsias et al., IEEE TMI 2018) in small form: a latent space that all contrasts share.

    From the paper: an encoder and a decoder for every contrast, latents of 16 channels fused by their voxelwise
    maximum, every target decoded from each single latent and from the fused one, latents pulled together by their
    variance.
    """

    LATENT = 16

    def __init__(self, contrasts: int, width: int) -> None:
        super().__init__(contrasts)
        self.encoders = nn.ModuleList(_Encoder(width, self.LATENT) for _ in range(contrasts))
        self.decoders = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(self.LATENT, width, 3, padding=1), nn.LeakyReLU(0.1),
                nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(width, 1, 1),
            ) for _ in range(contrasts)
        )  # fmt: skip

    def latents(self, x: Tensor, sources: list[int]) -> Tensor:
        """(B, K, 3, H, W) -> (B, K, 16, H, W)."""
        return torch.stack([self.encoders[i](x[:, k]) for k, i in enumerate(sources)], dim=1)

    def decode(self, latent: Tensor, targets: list[int]) -> Tensor:
        """(B, 16, H, W) -> (B, N, H, W)."""
        return torch.cat([self.decoders[j](latent) for j in targets], dim=1)

    def forward(self, x: Tensor, sources: list[int], targets: list[int]) -> Tensor:
        """(B, K, 3, H, W) -> (B, N, H, W)."""
        return self.decode(self.latents(x, sources).amax(dim=1), targets)

    def loss(self, player: str, batch: Batch) -> Tensor:
        """L1 from the fused latent and from each single one, and the latents' variance."""
        latents = self.latents(batch.x, batch.sources)
        total = image_loss(self.decode(latents.amax(dim=1), batch.targets), batch)
        if len(batch.sources) == 1:
            return total
        single = [image_loss(self.decode(one, batch.targets), batch) for one in latents.unbind(dim=1)]
        apart = (
            latents.var(dim=1).mean(dim=1, keepdim=True) * batch.brain
        ).sum() / batch.brain.sum().clamp_min(1)
        return total + torch.stack(single).mean() + 0.1 * apart


class _Encoder(nn.Module):
    """A small U-Net of two levels, as in the paper."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.first, self.second = _two(3, width), _two(width, 2 * width)
        self.third = _two(3 * width, width)
        self.out = nn.Conv2d(width, latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.first(x)
        coarse = F.interpolate(
            self.second(F.max_pool2d(fine, 2)), scale_factor=2, mode="bilinear", align_corners=False
        )
        return torch.as_tensor(self.out(self.third(torch.cat([coarse, fine], dim=1))))
