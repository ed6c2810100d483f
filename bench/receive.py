"""Images a second into the listener, with DCMTK as the sender."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

IMAGES = 300
SIDE = 256  # 256 x 256 x 16 bit: 131 kB, the size of an ordinary MR slice


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """{"images": .., "bytes": .., "images_per_second": {senders: ..}}; a missing storescu ends the run."""
    storescu = shutil.which("storescu")
    if storescu is None:
        sys.exit("error: storescu is not installed. apt-get install dcmtk")
    rates = {}
    with tempfile.TemporaryDirectory(prefix="medk2n-bench-") as name:
        folder = Path(name)
        for senders in (1, 4):
            studies = [write_study(folder / f"{senders}-{number}") for number in range(senders)]
            with listener(folder / f"node-{senders}") as port:
                started = time.perf_counter()
                running = [send(storescu, study, port) for study in studies]
                codes = [process.wait() for process in running]
                seconds = time.perf_counter() - started
            if any(codes):
                sys.exit(f"error: storescu ended with {codes}")
            rates[senders] = round(senders * IMAGES / seconds)
            say(f"receive: {senders} {'sender' if senders == 1 else 'senders'}, {rates[senders]} images/s")
    return {"images": IMAGES, "bytes": 2 * SIDE * SIDE, "images_per_second": rates}


def write_study(folder: Path) -> Path:
    folder.mkdir()
    study, series = generate_uid(), generate_uid()
    pixels = np.random.default_rng(0).integers(0, 4096, (SIDE, SIDE), dtype=np.uint16).tobytes()
    for number in range(IMAGES):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.PatientID, dataset.Modality, dataset.InstanceNumber = "BENCH", "MR", number + 1
        dataset.Rows = dataset.Columns = SIDE
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation, dataset.SamplesPerPixel = 0, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.PixelData = pixels
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return folder


@contextmanager
def listener(folder: Path) -> Iterator[int]:
    """`medk2n serve listener` with a storage of its own; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    folder.mkdir()
    file = folder / "node.toml"
    file.write_text(f"[node]\nport = {port}\n[observe]\nlog_level = 'warning'\n", encoding="utf-8")
    command = [sys.executable, "-m", "medk2n_node", "--config", str(file), "serve", "listener"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            if process.poll() is not None:
                sys.exit(f"error: the listener ended with {process.returncode}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def send(storescu: str, study: Path, port: int) -> subprocess.Popen[bytes]:
    # Without TCP_NODELAY, Nagle and delayed acknowledgement hold every image for some 40 ms.
    environment = {**os.environ, "TCP_NODELAY": "1"}
    options = ["--max-send-pdu", "131072", "--scan-directories", "-aec", "MEDK2N"]
    return subprocess.Popen([storescu, *options, "127.0.0.1", str(port), str(study)], env=environment)
