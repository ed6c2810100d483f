"""What costs nothing: the target's own mean, the best source with another histogram, a linear map of 27 voxels.

A network that does not beat these has learned nothing worth having. All but the constant are fitted on training cases.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.archive import Case
from training.errors import TrainingError
from training.peers.method import Images, Numbers, brain_slices

#: Points at which histograms are matched.
LEVELS = np.linspace(0, 100, 65)
#: Voxels of each training case that a fit sees; positions are drawn with a fixed seed.
SAMPLE = 3000
#: Strength of the ridge penalty, per voxel, on standardised features.
PENALTY = 1e-3


def _top(volume: npt.NDArray[np.float32], case: Case) -> npt.NDArray[np.float32]:
    """In units of the volume's own 99.5th percentile: a prepared contrast is that already, ADC is not."""
    return volume / max(float(np.percentile(volume[case.brain], 99.5)), 1e-6)


def _volume(case: Case, contrast: str) -> npt.NDArray[np.float32]:
    return case.contrasts[contrast].astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The target's own mean inside the brain: an oracle for the level that knows no anatomy."""

    name: str = "constant (oracle)"

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        """The mean of the truth, inside the brain (training.peers.Method)."""
        z = brain_slices(case, every)
        means = [float(np.clip(_top(_volume(case, t), case)[case.brain], 0, 1).mean()) for t in targets]
        return np.stack([m * case.brain[z].astype(np.float32) for m in means], axis=1), z


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The best single source after matching its histogram inside the brain to the target's usual one.

    Attributes:
        histogram: target -> its mean values at LEVELS over the training cases.
        error: source -> target -> mean squared error of the matched copy there; infinite where no case has both.
    """

    histogram: dict[str, list[float]]
    error: dict[str, dict[str, float]]
    name: str = "copy, histogram matched"

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        """The matched copy of the source that did best in training (training.peers.Method)."""
        z = brain_slices(case, every)
        out = []
        for target in targets:
            best = min(sources, key=lambda s: self.error.get(s, {}).get(target, float("inf")))
            values = _volume(case, best)
            wanted = self.histogram.get(target)
            out.append(values[z] if wanted is None else _matched(values[z], values[case.brain], wanted))
        return np.stack(out, axis=1).astype(np.float32), z

    @classmethod
    def fit(cls, cases: Sequence[Case]) -> Copy:
        """From training cases."""
        names = list(dict.fromkeys(c for case in cases for c in case.contrasts))
        curves: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in names}
        for case in cases:
            for name in case.contrasts:
                curves[name].append(np.percentile(_top(_volume(case, name), case)[case.brain], LEVELS))
        histogram = {name: np.mean(curves[name], axis=0).tolist() for name in names}
        error: dict[str, dict[str, float]] = {s: {} for s in names}
        for source in names:
            for target in names:
                both = [
                    c for c in cases if source in c.contrasts and target in c.contrasts and source != target
                ]
                squared = [_copy_error(case, source, target, histogram[target]) for case in both]
                if squared:
                    error[source][target] = float(np.mean(squared))
        return cls(histogram=histogram, error=error)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"histogram": self.histogram, "error": self.error}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Copy:
        """The copy that `to_json` wrote."""
        return cls(histogram=values["histogram"], error=values["error"])


def _matched(
    values: npt.NDArray[np.float32], inside: npt.NDArray[np.float32], wanted: Sequence[float]
) -> npt.NDArray[np.float32]:
    """`values` with the histogram of `inside` mapped onto the wanted one; what is empty stays empty."""
    own = np.percentile(inside, LEVELS)
    # Where many voxels share a value the curve stands still; interp needs it to rise.
    own = np.maximum.accumulate(own + 1e-6 * np.arange(len(own)))
    return np.where(values > 0, np.interp(values, own, wanted), 0).astype(np.float32)


def _copy_error(case: Case, source: str, target: str, wanted: Sequence[float]) -> float:
    inside = _volume(case, source)[case.brain]
    truth = np.clip(_top(_volume(case, target), case)[case.brain], 0, 1)
    return float(np.mean((np.clip(_matched(inside, inside, wanted), 0, 1) - truth) ** 2))


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """A linear map of the 3x3x3 neighbourhoods of all sources, one for every set of sources and every target.

    Attributes:
        maps: (sources, target) -> (bias, kernels (K, 3, 3, 3)), for the sets that training cases could teach.
        mean: target -> its mean in training: what is left where nothing could be learned.
    """

    maps: dict[tuple[tuple[str, ...], str], tuple[float, npt.NDArray[np.float64]]]
    mean: dict[str, float]
    name: str = "ridge 3x3x3"

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        """The linear map as a convolution (training.peers.Method); sources that no map knows are left out."""
        z = brain_slices(case, every)
        depth = case.brain.shape[0]
        around = np.clip(z[:, None] + np.array([-1, 0, 1]), 0, depth - 1)
        out = []
        for target in targets:
            used, (bias, kernels) = self._map(sources, target)
            image = np.full((len(z), *case.brain.shape[1:]), bias, np.float64)
            for source, kernel in zip(used, kernels, strict=True):
                planes = _volume(case, source)[around]  # (n, 3, H, W)
                for step in range(3):
                    image += ndimage.correlate(planes[:, step], kernel[step][None], mode="nearest")
            signal = np.max([_volume(case, s)[z] for s in sources], axis=0) > 0
            out.append(np.where(signal, image, 0))
        return np.stack(out, axis=1).astype(np.float32), z

    def _map(
        self, sources: tuple[str, ...], target: str
    ) -> tuple[tuple[str, ...], tuple[float, npt.NDArray[np.float64]]]:
        """The map of these sources, or of as many of them as some training case had together with the target."""
        known = {frozenset(taught): taught for taught, made in self.maps if made == target}
        for count in range(len(sources), 0, -1):
            for part in combinations(sources, count):
                if (taught := known.get(frozenset(part))) is not None:
                    return taught, self.maps[taught, target]
        return (), (self.mean.get(target, 0.4), np.zeros((0, 3, 3, 3)))

    @classmethod
    def fit(cls, cases: Sequence[Case], contrasts: Sequence[str], *, seed: int = 0) -> Ridge:
        """From training cases: every set of sources with every target that some case holds together."""
        names = [c for c in contrasts if any(c in case.contrasts for case in cases)]
        sampled = [_sample(case, np.random.default_rng([seed, k])) for k, case in enumerate(cases)]
        maps = {}
        for target in names:
            others = [c for c in names if c != target]
            for count in range(1, len(others) + 1):
                for sources in combinations(others, count):
                    have = [s for s in sampled if target in s and all(c in s for c in sources)]
                    if have:
                        x = np.concatenate([np.concatenate([s[c] for c in sources], axis=1) for s in have])
                        y = np.concatenate([s[target][:, 13] for s in have])  # 13 is the middle of 27
                        maps[sources, target] = _solve(x, y, len(sources))
        mean = {t: float(np.mean([s[t][:, 13].mean() for s in sampled if t in s])) for t in names}
        return cls(maps=maps, mean=mean)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        maps = [
            {"sources": list(s), "target": t, "bias": bias, "kernels": kernels.tolist()}
            for (s, t), (bias, kernels) in self.maps.items()
        ]
        return {"maps": maps, "mean": self.mean}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Ridge:
        """The ridge that `to_json` wrote."""
        maps = {
            (tuple(one["sources"]), one["target"]): (one["bias"], np.array(one["kernels"]))
            for one in values["maps"]
        }
        return cls(maps=maps, mean=values["mean"])


def _sample(case: Case, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    """contrast -> (voxels, 27) neighbourhoods at the same random brain voxels."""
    where = np.argwhere(case.brain)
    where = where[rng.choice(len(where), min(SAMPLE, len(where)), replace=False)]
    steps = np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1], indexing="ij")).reshape(3, 27).T
    at = np.clip(where[:, None] + steps, 0, np.array(case.brain.shape) - 1)
    return {
        name: array[at[..., 0], at[..., 1], at[..., 2]].astype(np.float32)
        for name, array in case.contrasts.items()
    }


def _solve(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], sources: int
) -> tuple[float, npt.NDArray[np.float64]]:
    centre, width = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64) + 1e-6
    standard = (x - centre) / width
    gram = standard.T @ standard + PENALTY * len(y) * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, standard.T @ (y - y.mean(dtype=np.float64))) / width
    return float(y.mean(dtype=np.float64) - centre @ weight), weight.reshape(sources, 3, 3, 3)


def save_simple(cases: Sequence[Case], contrasts: Sequence[str], folder: Path) -> list[Copy | Ridge]:
    """Fit copy and ridge on training cases and keep them in `folder`; gives them."""
    folder.mkdir(parents=True, exist_ok=True)
    copy, ridge = Copy.fit(cases), Ridge.fit(cases, contrasts)
    for name, one in (("copy", copy), ("ridge", ridge)):
        (folder / f"{name}.json").write_text(json.dumps(one.to_json()), encoding="utf-8")
    return [copy, ridge]


def load_simple(folder: Path) -> list[Copy | Ridge]:
    """The fitted copy and ridge of a folder; none where it has none.

    Raises:
        TrainingError: peers: a file cannot be read.
    """
    found: list[Copy | Ridge] = []
    kinds: tuple[tuple[str, type[Copy] | type[Ridge]], ...] = (("copy", Copy), ("ridge", Ridge))
    for name, kind in kinds:
        file = folder / f"{name}.json"
        if not file.exists():
            continue
        try:
            found.append(kind.from_json(json.loads(file.read_text(encoding="utf-8"))))
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                code="peers",
                subject=str(file),
                reason=f"it cannot be read ({error})",
                cure="Delete it and run `medk2n train peers` again.",
            ) from error
    return found
