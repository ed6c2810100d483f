"""Seal a trained network as a bundle: weights, recipe, data fingerprint, figures, card.

python -m training.release RUN CACHE OUT --name NAME --version VERSION
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from model import save_bundle
from model.network import MedK2N, NetworkConfig
from training.archive import load_case
from training.demonstration import VALIDATION

CARD = """# {name} {version}: demonstration weights of Med-K2N

**Research only. Not for clinical use.** These weights show that the node works; {patients} patients trained them.

| | |
|---|---|
| network | Med-K2N, encoder `nano` (Hiera of the `sam2` package, trained from scratch), {parameters:.2f} M parameters |
| takes, makes | any sources to any targets of {contrasts} |
| training | {steps} steps, recipe in `bundle.json`, seed {seed} |
| weights | half precision, sha256 in `bundle.json` |
| expected errors | the network's own estimate; the interval is **uncalibrated** |

## Data and terms

Real cases (patients never shared with validation): BraTS-style glioma and metastasis cases (research use, cite
BraTS), TCIA TCGA-LGG (CC BY 3.0), the 2-D LGG segmentation set made from it (treat as non-commercial), BRATS
2013/2015 training cases (CC BY-NC-SA 3.0, **non-commercial**), open_ms_data (CC BY), Kirby21 (free use with
citation), ISLES 2022 (CC BY 4.0), a stroke example of a GPL-3.0 repository (research use). Contrasts simulated by
signal equations from label maps of
SynthSeg (Apache-2.0), ms.lesion / open_ms_data (GPL-2 package, CC BY images) and nilearn's MNI152 maps (BSD-3, ICBM
2009a terms). Because of the non-commercial parts the weights are for research only, whatever the licence of the code.

Training cases: {cases}.

Not trained on: {validation}.

## Known failures

- Brightness: the level of a target differs between scanners by several dB and is only estimated.
- T2 with skull was seen in one patient and in simulation; diffusion in three patients.
- Enhancement (T1C), restricted diffusion (DWI, ADC) are not determined by other contrasts: such targets are high-risk.
- Lesions that no source shows cannot appear; small lesions may be smoothed away.
- Children, post-operative heads, implants, motion: not seen.
- `ms_oml12s1` is a training patient: comparisons with its truth are optimistic.
"""


def _lineage(run: Path) -> dict[str, Any]:
    """How many steps a training took, by which recipe."""
    state = torch.load(run / "state.pt", weights_only=False)
    return {"steps": state["step"], "recipe": json.loads((run / "recipe.json").read_text())}


def main() -> None:
    """Write the bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="medk2n-demo")
    parser.add_argument("--version", required=True)
    parser.add_argument(
        "--earlier",
        type=Path,
        nargs="*",
        default=[],
        help="runs that this one began with, the first one first",
    )
    parser.add_argument("--identity", type=Path, help="folder of the judge of identity to take along")
    a = parser.parse_args()
    state: dict[str, Any] = torch.load(a.run / "state.pt", weights_only=False)
    recipe = json.loads((a.run / "recipe.json").read_text())
    network = MedK2N(NetworkConfig.from_json(recipe["network"]))
    network.load_state_dict(state["average"])
    lineage = [_lineage(run) for run in (*a.earlier, a.run)]
    with (a.run / "log.csv").open() as handle:
        last = list(csv.DictReader(handle))[-1]
    files = [p for p in sorted(a.cache.glob("*.npz")) if p.stem not in VALIDATION]
    origin = {p.stem: load_case(p).origin for p in files}
    names = sorted(n for n in origin if not n.startswith("TCGA_"))
    facts = {
        "name": a.name,
        "version": a.version,
        "intended_use": "research",
        "combine": "mean",
        "stored_scale": 1000.0,
        "worst_expected_error": 0.25,
        "interval_factor": None,
        "preprocessing": {
            "percentile": 99.5,
            "inside": "brain",
            "in_plane_mm": [0.72, 1.32],
            "thick_mm": 3.0,
        },
        "training": {
            "recipe": recipe,
            "steps": state["step"],
            "earlier": lineage[:-1],
            "cases": sorted(origin),
            "fingerprint": hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest(),
        },
        "metrics": {k: float(v) for k, v in last.items() if ">" in k or k.startswith("mean")},
    }
    card = CARD.format(
        name=a.name,
        version=a.version,
        patients=len(origin),
        parameters=sum(p.numel() for p in network.parameters()) / 1e6,
        contrasts=", ".join(network.config.contrasts),
        steps=" + ".join(str(one["steps"]) for one in lineage),
        seed=recipe["seed"],
        cases=", ".join(names) + f", and {len(origin) - len(names)} patients of the 2-D LGG set",
        validation=", ".join(VALIDATION),
    )
    digest = save_bundle(a.out, network, facts, card, identity=a.identity)
    sys.stdout.write(digest + "\n")


if __name__ == "__main__":
    main()
