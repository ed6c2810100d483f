"""How fast the listener receives, beside DCMTK's storescp, in one run on this machine.

DCMTK's storescu sends generated MR images of 131 kB over one association per sender to (a) storescp --fork,
which syncs nothing and indexes nothing, (b) the listener with its storage in memory, where a sync costs
nothing, and (c) the listener on the disk of the temporary folder: every object synced, filed, the folder
synced, indexed and committed before it is acknowledged. Machines differ and are shared: read the ratios.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import peers
from tests.objects import mr_slice, new_uid, write_file

IMAGES = 300
SIDE = 256  # 256 x 256 x 16 bit: 131 kB, the size of an ordinary MR slice
SENDERS = (1, 4)
ROUNDS = 3
MEMORY = Path("/dev/shm")


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """{"images", "bytes", "images_per_second": {receiver: {senders: ..}}, "ratio_to_storescp": ..}.

    Each figure is the median of a few rounds in which the receivers take turns.
    """
    missing = [name for name in ("storescu", "storescp") if shutil.which(name) is None]
    if missing:
        sys.exit(f"error: {' and '.join(missing)} not installed. apt-get install dcmtk")
    on_disk = Path(tempfile.mkdtemp(prefix="medk2n-bench-"))
    in_memory = Path(tempfile.mkdtemp(prefix="medk2n-bench-", dir=MEMORY if MEMORY.is_dir() else None))
    places = {"storescp": on_disk, "listener, in memory": in_memory, "listener, on disk": on_disk}
    figures: dict[str, dict[int, list[float]]] = {name: {n: [] for n in SENDERS} for name in places}
    try:
        for senders in SENDERS:
            sent = in_memory / "sent"
            write_studies(sent, senders)
            for _ in range(ROUNDS):
                for name, place in places.items():
                    with receiver(name, place / "received") as port:
                        seconds = send_all(port, sent, senders)
                    figures[name][senders].append(senders * IMAGES / seconds)
                    shutil.rmtree(place / "received")
            shutil.rmtree(sent)
    finally:
        shutil.rmtree(on_disk)
        shutil.rmtree(in_memory)
    rates = {
        name: {senders: round(sorted(values)[len(values) // 2]) for senders, values in by_senders.items()}
        for name, by_senders in figures.items()
    }
    ratios = {
        name: {senders: round(rate / rates["storescp"][senders], 2) for senders, rate in by_senders.items()}
        for name, by_senders in rates.items()
        if name != "storescp"
    }
    for name, by_senders in rates.items():
        shown = ", ".join(f"{rate} images/s from {senders}" for senders, rate in by_senders.items())
        beside = (
            f" ({', '.join(str(ratio) for ratio in ratios[name].values())} of storescp)"
            if name in ratios
            else ""
        )
        say(f"receive: {name}: {shown}{beside}")
    return {
        "images": IMAGES,
        "bytes": 2 * SIDE * SIDE,
        "images_per_second": rates,
        "ratio_to_storescp": ratios,
    }


def write_studies(folder: Path, senders: int) -> None:
    for sender in range(senders):
        study, series = new_uid(), new_uid()
        for number in range(IMAGES):
            dataset = mr_slice(study_uid=study, series_uid=series, number=number, rows=SIDE, columns=SIDE)
            write_file(dataset, folder / str(sender) / f"{number:04d}.dcm")


@contextmanager
def receiver(name: str, folder: Path) -> Iterator[int]:
    if name == "storescp":
        with peers.storescp(folder, options=["--max-pdu", "131072"]) as archive:
            yield archive.port
    else:
        with peers.listener(folder, settings="[listener]\ndisk_reserve_mb = 0\n") as ours:
            yield ours.port


def send_all(port: int, folder: Path, senders: int) -> float:
    """Seconds until every sender is done."""
    options = ["--max-send-pdu", "131072", "-xe", "--scan-directories"]
    started = time.perf_counter()
    processes = [
        subprocess.Popen(
            [peers.program("storescu"), *options, "127.0.0.1", str(port), str(folder / str(sender))],
            env=peers.peer_environment(),
            stdout=subprocess.DEVNULL,
        )
        for sender in range(senders)
    ]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit(f"error: storescu ended with {codes}")
    return time.perf_counter() - started
