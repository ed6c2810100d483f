"""Seal a trained network as a bundle: weights, recipe, data fingerprint, figures, card.

`seal_run` does it for any training; as a command it seals the demonstration weights with their own card:

python -m training.release RUN CACHE OUT --name NAME --version VERSION
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from model import Bundle, save_bundle
from model.network import MedK2N
from training.archive import Case, load_case
from training.loop import Recipe, build, finished, load_state, read_log

CARD = """# {name} {version}: Med-K2N, adapted to {sites}

**Research only. Not for clinical use.** {patients} patients trained these weights, {validation} were kept apart.

| | |
|---|---|
| network | Med-K2N, encoder `{encoder}`, {parameters:.2f} M parameters |
| takes, makes | any sources to any targets of {contrasts} |
| began with | {began} |
| training | {steps} of {planned} steps, {way}, seed {seed}; the whole recipe is in `bundle.json` |
| batches | {batches} |
| sites | {numbers} |
| weights | half precision, sha256 in `bundle.json` |
| expected errors | the network's own estimate; the interval is **uncalibrated** |
| made with | {versions} |

## Data and terms

{data}

Fingerprint of the data: `{fingerprint}`. Terms, as the site states them: {terms}

## Figures

Mean over validation cases, inside the brain, {figures}

## Known failures

{failures}
"""

#: What any training of this network cannot do, whatever it was trained on.
FAILURES = (
    "Brightness: the level of a target differs between scanners by several dB and is only estimated.",
    "Enhancement (T1C), restricted diffusion (DWI, ADC) are not determined by other contrasts: such targets are "
    "high-risk.",
    "Lesions that no source shows cannot appear; small lesions may be smoothed away.",
    "What the training data do not show (children, operations, implants, motion) was not learned here.",
)

PREPROCESSING = {"percentile": 99.5, "inside": "brain", "in_plane_mm": [0.72, 1.32], "thick_mm": 3.0}


def averaged(run: Path, begin: MedK2N | None = None) -> tuple[MedK2N, Recipe, dict[str, Any]]:
    """The averaged network of a run as a bundle keeps it, its recipe, and the rest of its saved state.

    Args:
        begin: the network that the run began with; needed where it taught a new site or contrast alone.

    Raises:
        TrainingError: no training was saved in the folder.
    """
    state = load_state(run)
    recipe = Recipe.from_json(json.loads((run / "recipe.json").read_text()))
    network, _ = build(recipe, begin)
    network.load_state_dict(state["average"])
    return finished(network, recipe), recipe, state


def seen_by(bundle: Bundle) -> frozenset[str]:
    """Marks of the cases (Case.marks) that a bundle learned from; none where it does not say."""
    return frozenset(bundle.manifest["training"].get("seen", ()))


def seal_run(
    run: Path,
    cases: Sequence[Case],
    out: Path,
    *,
    name: str,
    version: str,
    begin: MedK2N | None = None,
    identity: Path | None = None,
    card: str | None = None,
    began: str = "random weights",
    terms: str = "none were stated.",
    failures: Sequence[str] = (),
    validation: int = 0,
    earlier: Sequence[Path] = (),
    seen: Iterable[str] = (),
    training: Mapping[str, Any] | None = None,
) -> str:
    """Seal what a run has learned as an uncalibrated bundle; gives its digest.

    Args:
        cases: those that it was trained on.
        begin: the network that the run began with (`averaged`).
        identity: folder with the judge of identity to take along.
        card: text in place of the general card; may name `{patients}`, `{parameters}`, `{contrasts}`, `{steps}`,
            `{seed}`, `{name}` and `{version}`.
        began: words for what the run began with; terms: of use of the data, as the site gives them.
        failures: what is known to fail beyond FAILURES; validation: patients kept apart.
        earlier: runs that this one began with, the first one first.
        seen: marks of the cases (Case.marks) that the network learned from before this training; those of `cases` are
            added, so that no later comparison is judged by them.
        training: further facts for the manifest's `training`.

    Raises:
        TrainingError: no training was saved in the folder. BundleError: schema.
    """
    network, recipe, state = averaged(run, begin)
    plain = json.loads((run / "recipe.json").read_text())
    last = read_log(run / "log.csv")[-1]
    metrics = {k: float(v) for k, v in last.items() if ">" in k or k.startswith("mean")}
    origin = {case.name: case.origin for case in cases}
    lineage = [_lineage(one) for one in earlier]
    fingerprint = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    facts = {
        "name": name,
        "version": version,
        "intended_use": "research",
        "combine": "mean",
        "stored_scale": 1000.0,
        "worst_expected_error": 0.25,
        "interval_factor": None,
        "preprocessing": PREPROCESSING,
        "training": {
            "recipe": plain,
            "steps": state["step"],
            "earlier": lineage,
            "cases": sorted(origin),
            "fingerprint": fingerprint,
            "seen": sorted(set(seen).union(*(case.marks for case in cases))),
            **(training or {}),
        },
        "metrics": metrics,
    }
    words = {
        "name": name,
        "version": version,
        "patients": len({case.patient_key for case in cases}),
        "parameters": sum(p.numel() for p in network.parameters()) / 1e6,
        "contrasts": ", ".join(network.config.contrasts),
        "steps": " + ".join(str(one["steps"]) for one in (*lineage, {"steps": state["step"]})),
        "seed": recipe.seed,
    }
    text = (card or CARD).format(
        **words,
        **({} if card else _general(network, recipe, cases, metrics)),
        **(
            {}
            if card
            else {"began": began, "terms": terms, "validation": validation, "planned": recipe.steps}
        ),
        **({} if card else {"fingerprint": fingerprint, "versions": ", ".join(_versions())}),
        **({} if card else {"failures": "\n".join(f"- {one}" for one in (*FAILURES, *failures))}),
    )
    return save_bundle(out, network, facts, text, identity=identity)


def _general(
    network: MedK2N, recipe: Recipe, cases: Sequence[Case], metrics: Mapping[str, float]
) -> dict[str, str]:
    """The general card's words about one training."""
    sites = sorted({case.site for case in cases})
    rows = ["| site | patients | cases | contrasts |", "|---|---|---|---|"]
    for site in sites:
        there = [case for case in cases if case.site == site]
        count = Counter(c for case in there for c in case.contrasts)
        shown = ", ".join(f"{c} ({count[c]})" for c in network.config.contrasts if c in count)
        rows.append(f"| {site} | {len({c.patient_key for c in there})} | {len(there)} | {shown} |")
    kind, name = recipe.grows
    way = f"the new {kind} `{name}` alone" if kind else {"lora": "LoRA+"}.get(recipe.adapt, "all weights")
    table = ["PSNR in dB as it comes:", "", "| sources > target | dB |", "|---|---|"]
    table += [f"| {row} | {value:.2f} |" for row, value in metrics.items()]
    return {
        "sites": ", ".join(sites),
        "encoder": network.config.encoder,
        "way": way,
        "batches": f"{recipe.batch} slices "
        + ("of one site and one set of contrasts" if recipe.mcbs else "drawn"),
        "numbers": ", ".join(f"{s} = {k}" for k, s in enumerate(network.config.sites)),
        "data": "\n".join(rows),
        "figures": "\n".join(table),
    }


def _versions() -> list[str]:
    names = ("medk2n", "torch", "lightning-fabric", "numpy")
    return [f"Python {platform.python_version()}", *(f"{n} {metadata.version(n)}" for n in names)]


def _lineage(run: Path) -> dict[str, Any]:
    """How many steps a training took, by which recipe."""
    return {"steps": load_state(run)["step"], "recipe": json.loads((run / "recipe.json").read_text())}


DEMONSTRATION = """# {name} {version}: demonstration weights of Med-K2N

**Research only. Not for clinical use.** These weights show that the node works; {patients} patients trained them.

| | |
|---|---|
| network | Med-K2N, encoder `nano` (Hiera of the `sam2` package, trained from scratch), {parameters:.2f} M parameters |
| takes, makes | any sources to any targets of {contrasts} |
| training | {steps} steps, recipes in `bundle.json`, seed {seed} |
| began anew | decoder and detail path with the 2700 steps, the blocks at stride 4 with the 3400 |
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
- A lesion that is dark on T1 may be drawn dark on FLAIR, like CSF, where the scanned FLAIR is bright
  (seen in `ms_openms26`).
- Children, post-operative heads, implants, motion: not seen.
- `ms_oml12s1` is a training patient: comparisons with its truth are optimistic.
"""


def main() -> None:
    """Write the bundle of the demonstration weights."""
    from training.demonstration import VALIDATION

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
    cases = [load_case(p) for p in sorted(a.cache.glob("*.npz")) if p.stem not in VALIDATION]
    names = sorted(c.name for c in cases if not c.name.startswith("TCGA_"))
    card = DEMONSTRATION.replace(
        "{cases}", ", ".join(names) + f", and {len(cases) - len(names)} patients of the 2-D LGG set"
    ).replace("{validation}", ", ".join(VALIDATION))
    digest = seal_run(
        a.run, cases, a.out, name=a.name, version=a.version, identity=a.identity, card=card, earlier=a.earlier
    )
    sys.stdout.write(digest + "\n")


if __name__ == "__main__":
    main()
