"""From folders to an evaluation: a bundle or a run, an archive, and the peers that were trained beside it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from model import CONTRASTS, load_bundle
from model.bundle import stated_digest
from model.network import MedK2N
from training.archive import Case, load_case, open_archive
from training.errors import TrainingError
from training.evaluate.ablation import Row, ablate
from training.evaluate.evaluation import Evaluation, evaluate
from training.evaluate.methods import BundleMethod, NetworkMethod
from training.evaluate.patterns import Pattern, patterns
from training.evaluate.table3 import train_rows
from training.peers import Constant, Method, load_peers, load_simple
from training.release import averaged

MANIFEST = "bundle.json"
STATED = ("torch", "numpy", "scipy", "scikit-image", "torchmetrics", "monai")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Cases to evaluate on, and what they are: fingerprint, split, remarks."""

    cases: list[Case]
    contrasts: tuple[str, ...]
    facts: dict[str, Any]
    remarks: tuple[str, ...] = ()


def open_model(folder: Path, *, name: str = "Med-K2N") -> tuple[BundleMethod | NetworkMethod, dict[str, Any]]:
    """A bundle, or the folder of a training (its bundle, or its averaged weights where none is sealed yet).

    Returns:
        the method, and what it says of itself.

    Raises:
        TrainingError: model: the folder is neither.
        BundleError: the bundle is not whole.
    """
    for place in (folder, folder / "bundle"):
        if (place / MANIFEST).is_file():
            bundle = load_bundle(place)
            learned = bundle.manifest["training"]
            facts: dict[str, Any] = {
                "name": bundle.name, "version": bundle.version, "digest": bundle.digest,
                "steps": learned.get("steps"), "earlier": [one["steps"] for one in learned.get("earlier", [])],
                "start": learned.get("start"),
            }  # fmt: skip
            return BundleMethod(bundle=bundle, name=name), facts
    if not (folder / "state.pt").is_file():
        raise TrainingError(
            code="model",
            subject=str(folder),
            reason="it is neither a bundle nor the folder of a training",
            cure="Name a folder with bundle.json, or the folder given to `medk2n train fit --out`",
        )
    network, recipe, state = averaged(folder)
    facts = {"run": folder.name, "steps": int(state["step"]), "seed": recipe.seed, "sealed": False}
    if (began := stated_digest(folder / "start")) is not None:
        facts["start"] = began
    return NetworkMethod(network=network, name=name, seed=recipe.seed), facts


def network_of(method: BundleMethod | NetworkMethod) -> MedK2N:
    """The network behind a method."""
    return method.bundle.network if isinstance(method, BundleMethod) else method.network


def judged_cases(archive: Path, split: str = "validation") -> Judged:
    """The cases of one split of an archive; or every prepared case (.npz) of a plain folder, which has no splits.

    Raises:
        TrainingError: it is no archive, or the split holds no case.
    """
    files = sorted(archive.glob("*.npz"))
    if files:
        cases = [load_case(file) for file in files]
        facts: dict[str, Any] = {
            "cases": str(archive.name),
            "files": {case.name: case.origin for case in cases},
        }
        remark = "The folder has no splits: nothing shows that these patients took no part in training."
        return Judged(cases=cases, contrasts=_contrasts(cases), facts=facts, remarks=(remark,))
    opened = open_archive(archive)
    cases = opened.cases(split)
    if not cases:
        raise TrainingError(
            code="nothing_to_evaluate", subject=str(archive), reason=f"the split {split} holds no case",
            cure="Prepare more patients, or name another split.",
        )  # fmt: skip
    facts = {"archive": opened.fingerprint, "split": split, "patients": len(opened.patients(split))}
    remarks = () if split != "training" else ("These are the training patients: the figures are optimistic.",)
    return Judged(cases=cases, contrasts=_contrasts(cases), facts=facts, remarks=remarks)


def _contrasts(cases: Sequence[Case]) -> tuple[str, ...]:
    found = {name for case in cases for name in case.contrasts}
    return (*(c for c in CONTRASTS if c in found), *sorted(found - set(CONTRASTS)))


def versions() -> dict[str, str]:
    """What computed: Python, machine, the packages that make figures."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    return found | {name: metadata.version(name) for name in STATED}


def evaluate_folders(
    model: Path,
    archive: Path,
    *,
    peers: Path | None = None,
    every: int = 1,
    split: str = "validation",
    sources: Sequence[Pattern] = (),
    pictures: int = 6,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Evaluation:
    """Evaluate a bundle or a run on an archive, beside the constant and the peers of a folder.

    Args:
        peers: what `medk2n train peers --out` was given; without it only the constant takes part.
        sources: patterns to ask for; every non-empty set of sources with all other contrasts by default.

    Raises:
        TrainingError, BundleError: what cannot be opened.
    """
    ours, said = open_model(model)
    judged = judged_cases(archive, split)
    methods: list[Method] = [ours, Constant()]
    not_checked = list(judged.remarks)
    facts: dict[str, Any] = {"model": said, **judged.facts, "protocol": PROTOCOL, "versions": versions()}
    if peers is None:
        not_checked.append("No peer was trained beside the model: the constant is all it is compared with.")
    else:
        trained, described, unfinished = load_peers(peers)
        methods += [*load_simple(peers), *trained]
        not_checked += unfinished
        facts["peers"] = described
        not_checked += _unlike(described, judged.facts, said)
    facts |= {
        "threads": torch.get_num_threads(),
        "seeds": sorted({seed for m in methods if (seed := getattr(m, "seed", None)) is not None}),
    }
    wanted = sources or patterns([c for c in judged.contrasts if c in ours.contrasts])
    return evaluate(
        methods, judged.cases, wanted, every=every, report=report, progress=progress, pictures=pictures,
        facts=facts, not_checked=not_checked,
    )  # fmt: skip


PROTOCOL = (
    "Inside the brain; truth divided by its own 99.5th percentile there, prediction by what the method holds it to be; "
    "both clipped to 0..1; no fit but in the second reading."
)


def _unlike(described: Sequence[dict[str, Any]], facts: dict[str, Any], said: Mapping[str, Any]) -> list[str]:
    """What makes the comparison with peers unequal, in words."""
    out = []
    others = {one["name"] for one in described if one.get("archive") != facts.get("archive")}
    if others:
        out.append(f"{', '.join(sorted(others))}: trained on other data than this archive's.")
    seeds = {one["name"]: len([o for o in described if o["name"] == one["name"]]) for one in described}
    few = sorted(name for name, count in seeds.items() if count < 3)
    if few:
        out.append(f"{', '.join(few)}: fewer than three seeds, so chance in training is not measured.")
    steps = sorted({int(one["steps"]) for one in described if "steps" in one})
    own = [*said.get("earlier", ()), said.get("steps")]
    if said.get("start"):
        out.append(
            f"The model began with the trained bundle {said['start'][:12]} and took {own[-1]} steps more, the peers "
            f"{_several(steps)} from random weights: this is no race at equal budget."
        )
    elif steps and own[-1] is not None and not steps[0] <= sum(own) <= steps[-1]:
        out.append(
            f"The model took {' + '.join(map(str, own))} steps, the peers {_several(steps)}: this is no race at equal "
            "budget."
        )
    return out


def _several(steps: Sequence[int]) -> str:
    return f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}" if steps else "none"


def rows_of(contrasts: Sequence[str]) -> list[Row]:
    """The rows of an ablation: every target from all other contrasts, and from the first two of them."""
    out: list[Row] = []
    for target in contrasts:
        others = tuple(c for c in contrasts if c != target)
        out += [(others, target)] + ([(others[:2], target)] if len(others) > 2 else [])
    return out


def ablate_folders(
    model: Path,
    archive: Path,
    *,
    every: int,
    spoilt: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, dict[str, float]]:
    """What each module of a trained network is worth on the validation cases (`training.evaluate.ablation`).

    `spoilt`: a kind of fault (`training.falsify.CORRUPTIONS`) that befalls an auxiliary source of every row.

    Raises:
        TrainingError: nothing_to_evaluate: no case has three contrasts, so no source is ever an auxiliary one.
    """
    method, _ = open_model(model)
    judged = judged_cases(archive)
    rows = rows_of([c for c in judged.contrasts if c in method.contrasts])
    if not any(
        {*sources, target} <= set(case.contrasts) for case in judged.cases for sources, target in rows
    ):
        raise TrainingError(
            code="nothing_to_evaluate", subject=str(archive),
            reason=f"no validation case holds all of {', '.join(judged.contrasts)}",
            cure="Prepare patients who were scanned with all contrasts.",
        )  # fmt: skip
    return ablate(network_of(method), judged.cases, rows, stride=every, spoilt=spoilt, report=report)


def ablate_trained(
    archive: Path,
    out: Path,
    *,
    seeds: Sequence[int],
    steps: int | None = None,
    minutes: float | None = None,
    every: int = 1,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, of: None,
) -> Evaluation:
    """The paper's table 3: B0 to B5 trained from scratch on the archive and evaluated, the whole network first."""
    methods = train_rows(
        archive, out, seeds=seeds, steps=steps, minutes=minutes, report=report, progress=progress
    )
    judged = judged_cases(archive)
    return evaluate(
        methods, judged.cases, patterns([c for c in judged.contrasts if c in methods[0].contrasts]), every=every,
        report=report, progress=lambda done, of: progress("evaluating", done, of),
        facts={**judged.facts, "protocol": PROTOCOL, "seeds": list(seeds), "versions": versions(),
               "steps": {f"{m.name}, seed {m.seed}": m.bundle.manifest["training"]["steps"] for m in methods}},
        not_checked=(*judged.remarks, "B4 adds CMIM only where the packaged model brings a judge of identity."),
    )  # fmt: skip
