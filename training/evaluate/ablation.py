"""What each module is worth: the validation rows with one of them switched off.

Sound sources leave the weight networks nothing to turn down: what those are worth shows with `spoilt`, where an
auxiliary source of each row is wrong on purpose.

python -m training.evaluate.ablation BUNDLE CASE.npz... [--stride N] [--spoilt KIND] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model import load_bundle
from model.network import MedK2N, Prediction
from training.archive import Case, load_case
from training.evaluate.protocol import predict_case, score, score_after_fit
from training.evaluate.switches import SWITCHES, switched_off
from training.falsify import CORRUPTIONS

Row = tuple[tuple[str, ...], str]
Pick = Callable[[Prediction], torch.Tensor]

#: Which of a prediction's candidates is the image: all heads together, one of them, or the key source's alone.
PICKS: dict[str, Pick] = {
    "whole network": lambda p: p.images.mean(dim=2),
    "residual head alone": lambda p: p.images[:, :, 0],
    "direct head alone": lambda p: p.images[:, :, 1],
    "haar head alone": lambda p: p.images[:, :, 2],
    "key source alone": lambda p: p.base[:, :, 0],
}


def given_rows(
    network: MedK2N, cases: Sequence[Case], rows: Sequence[Row], spoilt: str | None
) -> list[tuple[Case, Case, Row]]:
    """Each row that a case has: the case as it is, as the network gets it, and the row."""
    out = []
    for case in cases:
        for number, (sources, target) in enumerate(rows):
            if not {*sources, target} <= set(case.contrasts):
                continue
            shown = (
                case
                if spoilt is None
                else _with_bad_auxiliary(network, case, (sources, target), spoilt, number)
            )
            if shown is not None:
                out.append((case, shown, (sources, target)))
    return out


def _with_bad_auxiliary(network: MedK2N, case: Case, row: Row, kind: str, seed: int) -> Case | None:
    """The row's sources, the last one that is not the key spoilt; None where the key is alone."""
    sources, target = row
    known = network.config.contrasts
    [key] = network.keys([known.index(c) for c in sources], [known.index(target)])
    auxiliary = [c for k, c in enumerate(sources) if k != key]
    if not auxiliary:
        return None
    alone = replace(case, contrasts={c: case.contrasts[c] for c in sources})
    return CORRUPTIONS[kind](alone, auxiliary[-1], np.random.default_rng(seed))


def _mean(
    network: MedK2N, given: Sequence[tuple[Case, Case, Row]], stride: int, pick: Pick
) -> npt.NDArray[np.float64]:
    """(rows, 2) PSNR in dB as it comes and after the fit."""
    out = []
    for case, shown, (sources, target) in given:
        every = max(1, stride if case.brain.shape[0] > 60 else stride // 4)
        images, z = predict_case(network, shown, sources, (target,), every, pick=pick)
        truth, mask = case.contrasts[target][z].astype(np.float32), case.brain[z]
        out.append((score(images[:, 0], truth, mask), score_after_fit(images[:, 0], truth, mask)))
    return np.array(out)


def ablate(
    network: MedK2N,
    cases: Sequence[Case],
    rows: Sequence[Row],
    *,
    stride: int = 8,
    spoilt: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, dict[str, float]]:
    """PSNR (dB, brain) of the rows, and what is lost without each part; rows whose contrasts a case lacks are left out.

    Args:
        spoilt: a kind of CORRUPTIONS that befalls an auxiliary source of every row; rows of one source are left out.

    Returns:
        part -> psnr, fit, loss (dB against the whole, as it comes), loss_fit, worse (share of the rows that lose).
    """
    given = given_rows(network, cases, rows, spoilt)
    parts: dict[str, npt.NDArray[np.float64]] = {}
    for name, pick in PICKS.items():
        parts[name] = _mean(network, given, stride, pick)
        report(f"{name}: {parts[name].mean(axis=0).round(3).tolist()}")
    for name in SWITCHES:
        with switched_off(network, name):
            parts[f"without {name}"] = _mean(network, given, stride, PICKS["whole network"])
        report(f"without {name}: {parts[f'without {name}'].mean(axis=0).round(3).tolist()}")
    whole = parts["whole network"]
    return {
        name: {
            "psnr": round(float(v[:, 0].mean()), 3),
            "fit": round(float(v[:, 1].mean()), 3),
            "loss": round(float((whole - v)[:, 0].mean()), 3),
            "loss_fit": round(float((whole - v)[:, 1].mean()), 3),
            "worse": round(float((v[:, 0] < whole[:, 0]).mean()), 2),
        }
        for name, v in parts.items()
    }


def table(figures: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| part | PSNR | after fit | lost | lost after fit | rows that lose |",
        "|---|---|---|---|---|---|",
    ]
    for name, f in figures.items():
        numbers = (
            f"{f['psnr']:.2f} | {f['fit']:.2f} | {f['loss']:+.2f} | {f['loss_fit']:+.2f} | {f['worse']:.0%}"
        )
        lines.append(f"| {name} | {numbers} |")
    return "\n".join(lines)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    """Print the table."""
    from training.demonstration import ROWS  # the ten rows of the demonstration, not of every site

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--stride", type=int, default=12)
    parser.add_argument(
        "--spoilt", choices=sorted(CORRUPTIONS), help="what befalls an auxiliary source of every row"
    )
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    network = load_bundle(a.bundle).network
    figures = ablate(
        network,
        [load_case(p) for p in a.cases],
        ROWS,
        stride=a.stride,
        spoilt=a.spoilt,
        report=_say,
    )
    if a.out is not None:
        a.out.write_text(json.dumps(figures, indent=1))
    sys.stdout.write(table(figures) + "\n")


if __name__ == "__main__":
    main()
