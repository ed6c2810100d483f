"""The demonstration weights: which cases, how they count, how the training is watched.

python -m training.demonstration CACHE LABELS OUT [--minutes M] [--steps N]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from model.identity import load_identity
from model.imaging.grid import pose_of
from model.network import MedK2N, NetworkConfig
from training.archive import Case, load_case, read_nifti
from training.evaluate import predict_case, score, score_after_fit
from training.fitting import single_source_scores
from training.loop import Recipe, train
from training.sampling import Stage
from training.simulation.labels import LabelHead

#: Patients that are never trained on.
VALIDATION = (
    "ms_openms26", "gli_tcga_fg6692", "gli_tcga_fg6692_raw", "gli_brats18_cbica_atv", "brats13_HG0008",
    "TCGA_CS_5395", "TCGA_CS_6668", "TCGA_DU_5851", "TCGA_DU_A5TT", "TCGA_FG_A4MT", "TCGA_HT_7473", "TCGA_HT_7602",
    "TCGA_HT_7605",
)  # fmt: skip
ROWS = (
    (("T1", "T2"), "FLAIR"),
    (("T1", "T1C", "T2"), "FLAIR"),
    (("T1",), "T2"),
    (("T2", "FLAIR"), "T1"),
    (("T1", "T2", "FLAIR"), "T1C"),
)

#: Sites by the beginning of a case's name: who published, hence how the images look. Number 0 is the unknown site.
SITES = {
    "unknown": (),
    "brats": ("gli_brats", "met_brats"),
    "tcga": ("gli_tcga", "TCGA_"),
    "brats2013": ("brats13_",),
    "openms": ("ms_",),
    "kirby": ("healthy_kirby",),
    "isles": ("stroke_isles",),
    "jhu": ("stroke_jhu",),
}  # fmt: skip


def site_of(case: Case) -> int:
    """The case's number in SITES."""
    return next((k for k, begins in enumerate(SITES.values()) if case.name.startswith(begins)), 0)


def case_weight(case: Case) -> float:
    """Volumes count by what they can teach, single slices by a little each."""
    if case.brain.shape[0] <= 3:
        return 0.2 if "T2" in case.contrasts else 0.12
    if case.brain.shape[0] < 25:
        return 0.5
    return 3.0 if len(case.contrasts) >= 3 else 1.0


def rows_of(network: MedK2N, cases: list[Case], every: dict[str, int]) -> dict[str, float]:
    """PSNR of each row on the validation volumes as of an unknown site, as it comes and after the fit, and means."""
    out: dict[str, float] = {}
    raw, fit = [], []
    for case in cases:
        for sources, target in ROWS:
            images, z = predict_case(network, case, sources, (target,), every[case.name])
            truth, mask = case.contrasts[target][z].astype(np.float32), case.brain[z]
            a, b = score(images[:, 0], truth, mask), score_after_fit(images[:, 0], truth, mask)
            out[f"{case.name[-6:]} {'+'.join(sources)}>{target}"] = a
            out[f"{case.name[-6:]} {'+'.join(sources)}>{target} fit"] = b
            raw.append(a)
            fit.append(b)
    return {"mean": float(np.mean(raw)), "mean fit": float(np.mean(fit)), **out}


def label_heads(folder: Path) -> list[LabelHead]:
    """The label maps in the axial pose."""
    heads = []
    for path in sorted(folder.glob("*.nii.gz")):
        image = read_nifti(path)
        heads.append(LabelHead(np.ascontiguousarray(pose_of(image, "axial").apply(image.array)), path.stem))
    return heads


def main() -> None:
    """Train the demonstration network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--evaluate-every", type=int, default=400)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument(
        "--spoilt", type=float, default=Recipe.spoilt, help="share of batches with a bad source"
    )
    parser.add_argument(
        "--simulated", type=float, default=Recipe.simulated, help="share of slices drawn from label maps"
    )
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument(
        "--start", type=Path, help="state.pt of an earlier training to begin with: no curriculum then"
    )
    parser.add_argument(
        "--reconsider", action="store_true", help="with --start: the weight networks decide anew"
    )
    parser.add_argument("--identity", type=Path, help="folder of a trained identity tower (CMIM)")
    a = parser.parse_args()
    every = [load_case(p) for p in sorted(a.cache.glob("*.npz"))]
    training = [c for c in every if c.name not in VALIDATION and len(c.contrasts) > 1]
    volumes = [c for c in every if c.name in ("ms_openms26", "gli_tcga_fg6692")]
    stride = {"ms_openms26": 12, "gli_tcga_fg6692": 3}
    recipe = Recipe(
        steps=a.steps,
        evaluate_every=a.evaluate_every,
        batch=a.batch,
        learning_rate=a.learning_rate,
        spoilt=a.spoilt,
        simulated=a.simulated,
        seed=a.seed,
        network=NetworkConfig(sites=tuple(SITES)),
    )
    if a.start is not None:
        recipe = replace(
            recipe,
            curriculum={Stage.MANY_TO_MANY: 1.0},
            warmup=min(recipe.warmup, recipe.steps // 10),
            identity_from=0.0,
            reconsider=a.reconsider,
        )

    def report(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    report(
        json.dumps({c.name: [list(c.contrasts), case_weight(c)] for c in training if case_weight(c) > 0.3})
    )
    solid = [c for c in training if c.brain.shape[0] > 3]
    train(
        recipe,
        training,
        [case_weight(c) for c in training],
        label_heads(a.labels),
        a.out,
        evaluate=lambda network: rows_of(network, volumes, stride),
        key_score=lambda network: single_source_scores(network, solid),
        report=report,
        budget_s=60 * a.minutes,
        sites=[site_of(c) for c in training],
        start=a.start,
        identity=None if a.identity is None else load_identity(a.identity),
    )


if __name__ == "__main__":
    main()
