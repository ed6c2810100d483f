"""The demo from beginning to end: start, send, wait, verify, compare, draw, end every process."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydicom import dcmread

from dicom_rules.geometry import Volume, to_volume
from medk2n_node.demo import montage, prepared, scanner
from medk2n_node.demo.children import HOST, NODE_AE, PACS_AE, SCANNER_AE, Children, free_ports, write_config
from medk2n_node.demo.score import normalised_truth, score
from medk2n_node.demo.verify import Beside, Returned, beside, returned
from medk2n_node.errors import NodeError

QUIET_SECONDS = 2.0
_ENDS = ("DELIVERED", "COMPLETE", "HELD", "REFUSED", "FAILED")
_POLL_S = 0.5


class Narrator(Protocol):
    """Tells a person what happens."""

    def stage(self, words: str) -> None:
        """Something has begun that takes a while."""

    def done(self, words: str) -> None:
        """Something is finished."""

    def progress(self, words: str, done: int, total: int) -> None:
        """Some of many things are done."""


def run(out: Path, study: Path | None, narrator: Narrator, *, timeout_s: float = 900.0) -> dict[str, Any]:
    """Show the whole way of a study and give the summary as a JSON document.

    Everything is written below `out` (made; it must not hold another demonstration). `study`: a folder with the
    DICOM files of one study, or None for the phantom. InputError, PeerError, NodeError say what went wrong; no
    process is left behind in any case.
    """
    started = time.monotonic()
    _fresh(out)
    given: prepared.Prepared | None = None
    if study is not None:
        narrator.stage("reading the study")
        given = prepared.from_folder(study)
        narrator.done(f"study of {len(given.headers)} series, {len(given.files)} DICOM files")
    out.mkdir(parents=True, exist_ok=True)
    narrator.stage("starting the node and a small PACS")
    node_port, pacs_port = free_ports(2)
    config = write_config(out, node_port=node_port, pacs_port=pacs_port, quiet_seconds=QUIET_SECONDS)
    with Children() as children:
        children.start_node(config, out / "node.log")  # it loads the network while the study is prepared
        children.start_pacs(out / "pacs", pacs_port, out / "pacs.log")
        narrator.done(
            f"small PACS {PACS_AE} listens at {HOST}:{pacs_port} and keeps what it gets in {out / 'pacs'}"
        )
        if given is not None:
            errand = given
        else:
            errand = prepared.phantom(out / "study", narrator.stage)
            narrator.done(f"phantom head: T1 and T2 scanned, FLAIR missing; {len(errand.files)} DICOM files")
        narrator.stage("waiting for the node to answer C-ECHO")
        scanner.wait_until_it_answers(
            HOST, node_port, calling=SCANNER_AE, called=NODE_AE, timeout_s=120.0, still_alive=children.alive
        )
        narrator.done(f"node {NODE_AE} answers at {HOST}:{node_port}")
        sending = time.monotonic()
        scanner.send(
            errand.files,
            HOST,
            node_port,
            calling=SCANNER_AE,
            called=NODE_AE,
            sent=lambda number: narrator.progress("sending over DICOM", number, len(errand.files)),
        )
        narrator.done(f"sent {len(errand.files)} objects by C-STORE in {time.monotonic() - sending:.1f} s")
        shown = _wait(config, errand.study_uid, children, narrator, timeout_s)
        narrator.stage("stopping the node")
    return _summary(out, config, errand, shown, narrator, started)


def _fresh(out: Path) -> None:
    if any((out / name).exists() for name in ("node.toml", "study", "pacs", "storage")):
        raise NodeError(
            code="out_in_use",
            subject=str(out),
            reason="it holds an earlier demonstration",
            cure="Name another folder with --out",
            exit_code=2,
        )


def _wait(
    config_file: Path, study_uid: str, children: Children, narrator: Narrator, timeout_s: float
) -> dict[str, Any]:
    """Follow the study until it has come to an end; the document of `studies show`."""
    from medk2n_node.config import load_config
    from medk2n_node.store import open_store
    from medk2n_node.study import show_document

    store = open_store(load_config(config_file, {}))
    end = time.monotonic() + timeout_s
    told = 0
    narrator.stage("waiting for the study to settle")
    while time.monotonic() < end:
        children.alive()
        with store.reading() as session:
            document = show_document(session, study_uid)
        for step in document["history"][told:]:
            narrator.done(f"{step['to']}: {step['reason']}" if step["reason"] else str(step["to"]))
        told = len(document["history"])
        if document["state"] in _ENDS and not any(one["open"] for one in document["deliveries"]):
            return document
        stage = document["stage"]
        narrator.stage(f"{document['state'].lower()}{f': {stage}' if stage else ''}")
        time.sleep(_POLL_S)
    raise NodeError(
        code="timeout",
        subject=f"study {study_uid}",
        reason=f"it was not finished after {timeout_s:.0f} s",
        cure=f"medk2n --config {config_file} studies show {study_uid} tells where it stands",
    )


def _summary(
    out: Path,
    config: Path,
    errand: prepared.Prepared,
    shown: Mapping[str, Any],
    narrator: Narrator,
    started: float,
) -> dict[str, Any]:
    narrator.stage("verifying what came back")
    synthetic = [one for one in shown["results"] if one["kind"] == "series"]
    contrasts = {str(one["series_uid"]): str(one["contrast"]) for one in synthetic}
    came_back = returned(out / "pacs", contrasts, errand.headers)
    series = [_one(out, errand, shown, one, narrator) for one in came_back]
    others = [one for one in shown["results"] if one["kind"] != "series"]
    with_it = [one for one in beside(out / "pacs", others, errand.headers) if one.series_uid not in contrasts]
    arrived = {one.series_uid for one in came_back} | {one.series_uid for one in with_it}
    whole = {str(one["series_uid"]) for one in shown["results"]} == arrived and shown["state"] != "FAILED"
    summary: dict[str, Any] = {
        "study_uid": errand.study_uid,
        "state": shown["state"],
        "words": shown["words"],
        "release": shown["release"],
        "good": whole and all(one.good for one in came_back) and all(one.good for one in with_it),
        "plan": _sentences(shown["plan"] or {}, errand.headers),
        "series": series,
        "beside": [_beside(one) for one in with_it],
        "seconds": {
            "total": round(time.monotonic() - started, 1),
            **((shown["report"] or {}).get("seconds") or {}),
        },
        "files": {
            "out": str(out),
            "sent": str(Path(errand.files[0].path).parents[1]),
            "pacs": str(out / "pacs"),
            "config": str(config),
            "log": str(out / "node.log"),
            "summary": str(out / "summary.json"),
        },
    }
    (out / "summary.json").write_text(
        json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return summary


def _beside(one: Beside) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "contrast": one.contrast,
        "series_uid": one.series_uid,
        "description": one.description,
        "instances": len(one.files),
        "files": [str(file) for file in one.files],
        "checks": [
            {"promise": check.promise, "kept": check.kept, "words": check.words} for check in one.checks
        ],
    }


def _sentences(plan: Mapping[str, Any], headers: Mapping[str, Sequence[Any]]) -> list[str]:
    """The plan as sentences, series by series and target by target."""
    lines: list[str] = []
    for one in plan.get("series", ()):
        first = next(iter(headers.get(one["series_uid"], ())), None)
        name = (
            str(first.get("SeriesDescription", "") or one["series_uid"])
            if first is not None
            else one["series_uid"]
        )
        lines += [f"{name}: {reason}" for reason in one["reasons"]]
    for one in plan.get("targets", ()):
        lines += [f"{one['contrast']} ({one['decision']}): {reason}" for reason in one["reasons"]]
    return lines


def _one(
    out: Path, errand: prepared.Prepared, shown: Mapping[str, Any], one: Returned, narrator: Narrator
) -> dict[str, Any]:
    """What is said about one series that came back, with its picture and, where truth is known, its score."""
    narrator.stage(f"drawing {one.contrast}")
    report = ((shown["report"] or {}).get("targets") or {}).get(one.contrast) or {}
    scale = float(report.get("scale") or 1.0)
    said: dict[str, Any] = {
        "series_uid": one.series_uid,
        "contrast": one.contrast,
        "instances": len(one.objects),
        "tags": one.tags,
        "checks": [
            {"promise": check.promise, "kept": check.kept, "words": check.words} for check in one.checks
        ],
        "reasons": list(report.get("reasons", ())),
        "contributions": dict(report.get("contributions", {})),
        "score": None,
        "picture": None,
    }
    present = {uid: contrast for contrast, uid in ((shown["plan"] or {}).get("present") or {}).items()}
    synthetic = to_volume(list(one.objects))
    known = errand.truth.of(one.contrast, present.get(one.reference or "", ""))
    truth, brain = known if known is not None else (None, None)
    caption = ""
    if truth is not None and brain is not None:
        result = score(synthetic.array, scale, truth, brain)
        said["score"] = {
            "psnr_db": round(result.psnr_db, 2),
            "ssim": round(result.ssim, 3),
            "fitted_psnr_db": round(result.fitted_psnr_db, 2),
            "constant_db": round(result.constant_db, 2),
        }
        caption = f"PSNR {result.psnr_db:.1f} dB, SSIM {result.ssim:.3f} inside the brain."
        truth = normalised_truth(truth, brain)
    picture = out / f"montage-{one.contrast}.png"
    montage.draw(
        picture,
        target=one.contrast,
        sources=_sources(errand, present, one),
        synthetic=synthetic,
        scale=scale,
        truth=truth,
        brain=brain,
        caption=caption,
    )
    said["picture"] = str(picture)
    return said


def _sources(errand: prepared.Prepared, present: Mapping[str, str], one: Returned) -> dict[str, Volume]:
    """The volumes of the series that the result names as its sources, by contrast."""
    named = [str(item.SeriesInstanceUID) for item in one.objects[0].get("RelatedSeriesSequence", ())]
    return {
        present.get(uid, f"source {number}"): to_volume([dcmread(path) for path in errand.paths(uid)])
        for number, uid in enumerate(named, start=1)
        if uid in errand.headers
    }
