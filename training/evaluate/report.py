"""An evaluation as files: report.json for programs, report.html (one file, pictures inside) for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from training.evaluate.evaluation import Evaluation, Row
from training.evaluate.pictures import bars, triptych
from training.evaluate.statistics import Comparison, Estimate

#: Differences smaller than this are called even, whatever the test says: nobody sees them.
EVEN_DB = 0.05
#: Probability below which a difference is called more than chance.
SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: its text, and what it looks like (best, ours, text)."""

    text: str
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Heads and rows; the first column is text."""

    heads: list[Cell]
    rows: list[list[Cell]]


def write_report(evaluation: Evaluation, folder: Path) -> dict[str, Path]:
    """Write report.json and report.html into `folder` (made where it is missing); gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"json": folder / "report.json", "html": folder / "report.html"}
    texts = {"json": json.dumps(evaluation.to_json(), indent=1, ensure_ascii=False), "html": page(evaluation)}
    for kind, path in files.items():
        part = path.with_suffix(path.suffix + ".part")
        part.write_text(texts[kind], encoding="utf-8")
        part.rename(path)
    return files


def page(evaluation: Evaluation) -> str:
    """The page of an evaluation: a whole HTML document that needs no other file and no network."""
    environment = Environment(
        loader=PackageLoader("training.evaluate", "."), autoescape=True, undefined=StrictUndefined
    )
    ours = evaluation.methods[0]
    return environment.get_template("report.html").render(
        ours=ours,
        methods=evaluation.methods,
        patients=evaluation.patients,
        cases=len({row.case for row in evaluation.rows}),
        sets=len({(row.sources, row.target) for row in evaluation.rows}),
        verdicts=[verdict(one) for one in evaluation.comparisons() if one.scope == "all"],
        bars=bars(evaluation),
        worst=[{"text": _caption(one.row, one.z), "image": triptych(one)} for one in evaluation.pictures],
        summary=_summary(evaluation),
        per_target=_grid(evaluation, [(t, None) for t in evaluation.targets]),
        per_set=_grid(evaluation, list(dict.fromkeys((r.target, r.sources) for r in evaluation.rows))),
        lesions=_lesions(evaluation),
        legacy=_legacy(evaluation),
        not_checked=evaluation.not_checked,
        facts=_facts(evaluation),
    )


def verdict(one: Comparison) -> dict[str, str]:
    """Who wins, by how much, and whether that is more than chance: one sentence."""
    d = one.difference
    if abs(d.mean) < EVEN_DB:
        word, kind = "Even:", "even"
    else:
        word, kind = ("Wins:", "wins") if d.mean > 0 else ("Loses:", "loses")
    reading = "as it comes" if one.reading == "raw" else "after the fit"
    interval = "" if d.low is None else f" (95 % interval {d.low:+.2f} to {d.high:+.2f})"
    if one.p_holm is None:
        chance = "no test with so few patients"
    else:
        more = "more than chance" if one.p_holm < SIGNIFICANT else "may be chance"
        chance = f"{more}, p {one.p_holm:.3f}"
    people = f"{d.patients} patient{'' if d.patients == 1 else 's'}"
    return {
        "word": word,
        "class": kind,
        "text": f"{one.ours} against {one.theirs}, {reading}: {d.mean:+.2f} dB{interval} over {people}, higher in "
        f"{one.won} of {one.rows} rows; {chance}.",
    }


def _caption(row: Row, z: int) -> str:
    lesion = row.figure("lesion")
    more = "" if lesion is None else f", inside the lesion {lesion:.2f} dB"
    return (
        f"{row.method}, {' + '.join(row.sources)} to {row.target}, case {row.case}: {row.figure('raw'):.2f} dB as it "
        f"comes, {row.figure('fit'):.2f} dB after the fit{more}; its worst slice, number {z}"
    )


def _number(value: Estimate | None, digits: int = 2, interval: bool = False) -> str:
    if value is None:
        return "-"
    text = f"{value.mean:.{digits}f}"
    if interval and value.low is not None and value.high is not None:
        text += f" ({value.low:.{digits}f} to {value.high:.{digits}f})"
    return text


def _both(evaluation: Evaluation, rows: Sequence[Row], name: str, digits: int = 2) -> str:
    return " / ".join(_number(evaluation.estimate(rows, reading, name), digits) for reading in ("raw", "fit"))


def _summary(evaluation: Evaluation) -> Table:
    heads = ["method", "PSNR dB (95 %)", "after fit", "SSIM", "MAE", "HFEN", "NMI", "z", "rows", "seeds"]
    rows = []
    for method in evaluation.methods:
        own = evaluation.shared(method)
        seeds = evaluation.seeds(method)
        rows.append(
            [
                method,
                _number(evaluation.estimate(own), interval=True),
                _number(evaluation.estimate(own, "fit"), interval=True),
                _both(evaluation, own, "ssim", 3),
                _both(evaluation, own, "mae", 3),
                _both(evaluation, own, "hfen"),
                _both(evaluation, own, "nmi", 3),
                _number(evaluation.estimate(own, "raw", "z_ratio")),
                str(len(own)),
                ", ".join(f"{seed}: {value:.2f}" for seed, value in seeds.items()) or "-",
            ]
        )
    return _plain(heads, rows)


def _grid(evaluation: Evaluation, wanted: Sequence[tuple[str, tuple[str, ...] | None]]) -> Table:
    """PSNR of every method for every target (and set of sources); the best of a row as it comes is bold."""
    named = any(sources for _, sources in wanted)
    heads = [Cell(text="sources" if named else "target", style="text")]
    heads += [Cell(text="target", style="text")] if named else []
    heads += [Cell(text=m, style="ours" if m == evaluation.methods[0] else "") for m in evaluation.methods]
    rows = []
    for target, sources in wanted:
        values = [evaluation.estimate(evaluation.of(m, target, sources)) for m in evaluation.methods]
        known = [v.mean for v in values if v is not None]
        row = [Cell(text=" + ".join(sources), style="text")] if sources else []
        row.append(Cell(text=target, style="text"))
        for method, value in zip(evaluation.methods, values, strict=True):
            best = value is not None and value.mean == max(known)
            style = " ".join(
                filter(None, ("ours" if method == evaluation.methods[0] else "", "best" if best else ""))
            )
            row.append(
                Cell(text=_both(evaluation, evaluation.of(method, target, sources), "psnr"), style=style)
            )
        rows.append(row)
    return Table(heads=heads, rows=rows)


def _lesions(evaluation: Evaluation) -> Table:
    heads = [
        "method",
        "target",
        "lesion PSNR / after fit",
        "rest PSNR / after fit",
        "lesion MAE",
        "lesion bias",
        "rows",
    ]
    rows = []
    for target in evaluation.targets:
        for method in evaluation.methods:
            own = [row for row in evaluation.of(method, target) if row.figures["lesion"] is not None]
            if not own:
                continue
            parts = [
                " / ".join(_number(evaluation.estimate(own, part, name)) for name in ("psnr", "psnr_fit"))
                for part in ("lesion", "rest")
            ]
            more = [_number(evaluation.estimate(own, "lesion", name), 3) for name in ("mae", "bias")]
            rows.append([method, target, *parts, *more, str(len(own))])
    return _plain(heads, rows, texts=2)


def _legacy(evaluation: Evaluation) -> Table:
    rows = []
    for method in evaluation.methods:
        own = evaluation.shared(method)
        figures = [_number(evaluation.estimate(own, "legacy", n), d) for n, d in (("psnr", 2), ("ssim", 3))]
        rows.append([method, *figures])
    return _plain(["method", "PSNR", "SSIM"], rows)


def _facts(evaluation: Evaluation) -> Table:
    def words(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

    heads = [Cell(text="what", style="text"), Cell(text="value", style="text")]
    rows = [
        [Cell(text=str(key), style="text"), Cell(text=words(value), style="facts")]
        for key, value in evaluation.facts.items()
    ]
    return Table(heads=heads, rows=rows)


def _plain(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> Table:
    def cells(line: Sequence[str]) -> list[Cell]:
        return [Cell(text=value, style="text" if at < texts else "") for at, value in enumerate(line)]

    return Table(heads=cells(heads), rows=[cells(row) for row in rows])
