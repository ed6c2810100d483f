"""Med-K2N as a method under evaluation: a network as it stands in training, and a bundle as the node runs it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from model import Bundle
from model.arithmetic import arithmetic
from model.contrasts import FIXED_SCALE
from model.imaging.normalise import PERCENTILE
from model.network import MedK2N
from model.slices import Stack, decode
from model.synthesis import head_mask
from training.archive import Case
from training.evaluate.protocol import predict_case
from training.peers import brain_slices, connected
from training.peers.method import BATCH, Images, Numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkMethod:
    """A network by `predict_case`: the mean of its heads, whole slices, no closed loop. `site` as in BundleMethod."""

    network: MedK2N
    name: str = "Med-K2N"
    site: int | None = None
    seed: int | None = None

    @property
    def contrasts(self) -> tuple[str, ...]:
        """What it can take and make."""
        return self.network.config.contrasts

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        """The targets on every `every`-th slice that holds brain (training.peers.Method)."""
        sites = self.network.config.sites
        own = sites.index(case.site) if case.site in sites else 0
        site = own if self.site is None else self.site
        images, z = predict_case(self.network, case, sources, targets, every, site=site)
        return in_own_percentile(images, targets, case, z), z


@dataclass(frozen=True, kw_only=True, eq=False)
class BundleMethod:
    """A bundle exactly as the node uses it on a prepared study: cropped to the head, closed loop, its way to combine.

    With `every` above 1 the closed loop judges those slices alone. `site` None: a case's own, unknown to the bundle 0.
    """

    bundle: Bundle
    name: str = "Med-K2N"
    site: int | None = None
    device: str = "cpu"
    seed: int | None = None

    @property
    def contrasts(self) -> tuple[str, ...]:
        """What it can take and make."""
        return self.bundle.contrasts

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        """The targets on every `every`-th slice that holds brain (training.peers.Method)."""
        z = brain_slices(case, every)
        arrays = {c: case.contrasts[c].astype(np.float32) for c in sources}
        head = head_mask(arrays, case.brain)
        if every > 1:
            only = np.zeros(len(head), bool)
            only[z] = True
            head &= only[:, None, None]
        stack = Stack(
            arrays=arrays,
            levels=torch.tensor([case.level_features(c) for c in sources], dtype=torch.float32),
            head=head,
            brain=case.brain,
            thick=not connected(case),
            site=self.bundle.sites.get(case.site, 0) if self.site is None else self.site,
        )
        with arithmetic(self.device, "fp32", None):
            run = decode(
                self.bundle,
                stack,
                targets,
                device=self.device,
                batch_slices=BATCH,
                progress=lambda done: None,
            )
        images = (np.clip(run.image[z], 0, 4) * head[z][:, None]).astype(np.float32)
        return in_own_percentile(images, targets, case, z), z


def in_own_percentile(images: Images, targets: tuple[str, ...], case: Case, z: Numbers) -> Images:
    """Targets with a physical unit (ADC) in units of their own 99.5th percentile, which is what the node states."""
    out = images
    for j, target in enumerate(targets):
        if target in FIXED_SCALE:
            top = float(np.percentile(images[:, j][case.brain[z]], PERCENTILE))
            if top > 0:
                out = out.copy() if out is images else out
                out[:, j] = images[:, j] / top
    return out
