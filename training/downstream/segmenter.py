"""A small MONAI segmenter: the same network, the same slices, the same seed in every arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.downstream.arms import Stack

#: Share of the drawn slices that hold lesion: without it a small lesion is hardly ever seen.
WITH_LESION = 0.7
RATE, BATCH, CHUNK = 5e-3, 8, 8


def segmenter(channels: int) -> nn.Module:
    """MONAI's UNet in two dimensions, 0.5 M parameters: (B, channels, H, W) -> (B, 1, H, W) logits.

    Batch norm: the statistics of an instance would be other in a crop than in a whole slice.
    """
    from monai.networks.nets.unet import UNet

    return UNet(
        spatial_dims=2, in_channels=channels, out_channels=1, channels=(16, 32, 64, 128), strides=(2, 2, 2),
        num_res_units=1, norm="batch",
    )  # fmt: skip


def train_segmenter(
    stacks: Sequence[Stack],
    *,
    steps: int,
    seed: int,
    size: int = 128,
    progress: Callable[[int, int], None] = lambda step, of: None,
) -> nn.Module:
    """Teach a segmenter the lesions of these stacks; what is drawn depends on seed and lesions, not on the images."""
    from monai.losses.dice import DiceCELoss

    torch.manual_seed(seed)
    network = segmenter(stacks[0].image.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    criterion = DiceCELoss(sigmoid=True, batch=True)
    network.train()
    for step in range(steps):
        image, truth = _draw(stacks, np.random.default_rng([seed, step]), size)
        loss = criterion(network(image), truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        progress(step + 1, steps)
    return network.eval()


def _draw(stacks: Sequence[Stack], rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    images, truths = [], []
    for _ in range(BATCH):
        one = stacks[int(rng.integers(len(stacks)))]
        ill = np.flatnonzero(one.truth.any(axis=(1, 2)))
        z = int(rng.choice(ill)) if rng.random() < WITH_LESION else int(rng.integers(len(one.truth)))
        rows, columns = (np.flatnonzero(one.brain[z].any(axis=axis)) for axis in (1, 0))
        jitter = rng.integers(-8, 9, 2)
        centre = (int(rows.mean()) + int(jitter[0]), int(columns.mean()) + int(jitter[1]))
        planes = np.concatenate([one.image[z], one.truth[z][None].astype(np.float32)])
        cut = _cut(planes, centre, size)
        if rng.random() < 0.5:
            cut = cut[:, :, ::-1]
        gain = np.exp(rng.normal(0, 0.1, (len(cut) - 1, 1, 1))).astype(np.float32)
        images.append(cut[:-1] * gain)
        truths.append(cut[-1:])
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(truths).copy())


def _cut(planes: npt.NDArray[np.float32], centre: tuple[int, int], size: int) -> npt.NDArray[np.float32]:
    """(C, H, W) -> (C, size, size) around the centre, zero outside."""
    half = size // 2
    padded = np.pad(planes, ((0, 0), (size, size), (size, size)))
    top, left = centre[0] + size - half, centre[1] + size - half
    return padded[:, top : top + size, left : left + size]


@torch.no_grad()
def segment(network: nn.Module, one: Stack) -> npt.NDArray[np.bool_]:
    """The lesion of a stack, inside its brain: (n, H, W)."""
    height, width = one.truth.shape[1:]
    pad = (0, -width % 8, 0, -height % 8)
    out = []
    for start in range(0, len(one.image), CHUNK):
        x = torch.nn.functional.pad(torch.from_numpy(one.image[start : start + CHUNK]), pad)
        out.append((network(x)[:, 0, :height, :width] > 0).numpy())
    return np.concatenate(out) & one.brain


def dice(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|) over the whole volume (MONAI); the truth must not be empty."""
    from monai.metrics.meandice import compute_dice

    a, b = (torch.from_numpy(v.astype(np.float32))[None, None] for v in (found, truth))
    return float(compute_dice(a, b)[0, 0])
