"""Seconds from SETTLED to DELIVERED: a whole node, and DCMTK's storescp as the PACS, both on this machine.

The studies of bench/synthesis.py are sent to the node; what it makes goes back over DICOM. The stages are those that
`medk2n studies show` reports; the rest is planning, queueing and the database.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synthesis import STUDIES, write_study_of

from tests import peers
from tests.integration.node import Destination, Node, node

LIMIT_S = {"24 slices": 30.0, "155 slices": 120.0}
LONGEST_S = 540.0
SETTINGS = '[targets]\nallowed = ["T1C"]\nhigh_risk = ["T1C"]\n[protocols]\nfile = "protocols.toml"\n'
"""The studies hold T1, T2 and FLAIR; T1C is what they lack."""

PROTOCOL = 'name = "bench"\nmatches = []\nexpects = ["T1", "T1C", "T2", "FLAIR"]\n'


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """{study: {"settled_to_delivered_s", "limit_s", "stages", "objects"}}."""
    say(f"end to end: load {os.getloadavg()[0]:.1f}")
    return {name: one_study(name, say) for name in STUDIES}


def one_study(name: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Send one study through a node of its own."""
    with tempfile.TemporaryDirectory(prefix="medk2n-bench-") as made:
        folder = Path(made)
        written = write_study_of(name, folder / "study")
        with peers.storescp(folder / "pacs", ae_title="PACS") as pacs:
            destination = Destination(name="pacs", ae_title="PACS", port=pacs.port)
            with node(folder / "node", [destination], settings=_settings(folder / "node")) as running:
                running.send(folder / "study")
                document = _delivered(running, written.study_uid)
    at = {one["to"]: datetime.fromisoformat(one["at"]) for one in document["history"]}
    seconds = document["report"]["seconds"]
    total = (at["DELIVERED"] - at["SETTLED"]).total_seconds()
    inside = {stage: spent for stage, spent in seconds.items() if stage not in ("synthesis", "deliver")}
    stages = {
        "plan": round((at["PLANNED"] - at["SETTLED"]).total_seconds(), 2),
        "wait": round((at["SYNTHESIZING"] - at["PLANNED"]).total_seconds(), 2),
        **{stage: round(spent, 2) for stage, spent in inside.items()},
        "deliver": round((at["DELIVERED"] - at["DELIVERING"]).total_seconds(), 2),
    }
    stages["rest"] = round(total - sum(stages.values()), 2)
    objects = sum(one["instances"] for one in document["results"])
    say(
        f"end to end, {name}: {total:.1f} s from SETTLED to DELIVERED (at most {LIMIT_S[name]:.0f}), {objects} objects"
    )
    for stage in sorted(stages, key=lambda one: -stages[one]):
        say(f"  {stage:<12} {stages[stage]:6.2f} s  {100 * stages[stage] / total:4.0f} %")
    largest = max(stages, key=lambda one: stages[one])
    if largest != "network":
        say(
            f"  the largest stage is not the network but {largest}: it runs on every source, whatever is made of them"
        )
    return {
        "settled_to_delivered_s": round(total, 2),
        "limit_s": LIMIT_S[name],
        "stages": stages,
        "largest": largest,
        "objects": objects,
    }


def _settings(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "protocols.toml").write_text(PROTOCOL)
    return SETTINGS


def _delivered(running: Node, study_uid: str) -> dict[str, Any]:
    """What `studies show` says in the end. The command itself costs seconds, so the tables are read here."""
    from medk2n_node.config import load_config
    from medk2n_node.store import open_store
    from medk2n_node.study import list_document

    store = open_store(load_config(running.config_file, {}))
    deadline = time.monotonic() + LONGEST_S
    try:
        while time.monotonic() < deadline:
            with store.reading() as session:
                states = {one["study_uid"]: one["state"] for one in list_document(session)["studies"]}
            if states.get(study_uid) in ("DELIVERED", "FAILED", "REFUSED", "HELD", "COMPLETE"):
                break
            time.sleep(0.5)
    finally:
        store.close()
    document = running.show(study_uid)
    if document["state"] != "DELIVERED":
        sys.exit(f"error: the study is {document['state']}: {document.get('words')}")
    return document
