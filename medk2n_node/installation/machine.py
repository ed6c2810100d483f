"""Checks of the machine: storage, database, ports, the device that computes, the weights."""

from __future__ import annotations

import errno
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from medk2n_node.config import Config
from medk2n_node.installation.checks import Check, Echo, State

# A study of two 3-D series at 512 x 512 is some 250 MB with its results; below this a day's work does not fit.
COMFORTABLE_FREE_BYTES = 5 * 1024**3
MATMUL_SIZE = 1024


def storage(config: Config) -> Check:
    """Can we write where the studies will lie, and does the disk have room above the reserve?"""
    root = config.storage_path
    existing = _nearest_existing(root)
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".medk2n-doctor-"):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Check(
            name="storage",
            state=State.ERROR,
            found=f"{root} cannot be written ({error.strerror or error})",
            cure="Give the node's user the right to write there, or set [node] storage in node.toml",
        )
    reserve = config.listener.disk_reserve_mb * 1024**2
    found = f"{root}, {free / 1024**3:.1f} GiB free"
    if free < reserve:
        return Check(
            name="storage",
            state=State.ERROR,
            found=f"{found}: under [listener] disk_reserve_mb = {config.listener.disk_reserve_mb}, objects are refused",
            cure="Free some disk space, or name another folder as [node] storage",
        )
    if free < COMFORTABLE_FREE_BYTES:
        return Check(
            name="storage", state=State.WARNING, found=f"{found}: little", cure="Free some disk space"
        )
    return Check(name="storage", state=State.OK, found=found)


def database(config: Config) -> Check:
    """Can the database be opened? A SQLite file that does not exist yet will be made."""
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    url = make_url(config.node.database)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        return Check(name="database", state=State.OK, found=f"{shown} (made at the first start)")
    try:
        engine = create_engine(url)
        inspect(engine).get_table_names()  # a file that is no database is found out by the first question
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        return Check(
            name="database",
            state=State.ERROR,
            found=f"{shown} cannot be opened ({str(error).splitlines()[0]})",
            cure="Check [node] database in node.toml, and that the server runs",
        )
    return Check(name="database", state=State.OK, found=shown)


def ports(config: Config, echo: Echo) -> Iterator[Check]:
    """Is each port of ours free, or held by a DICOM node already (ours, if this one runs)?"""
    for name, port in (("port", config.node.port), ("tls_port", config.node.tls_port)):
        if port == 0:
            continue
        label = f"{name} {port}"
        problem = _cannot_bind(config.node.host, port)
        if problem is None:
            yield Check(name=label, state=State.OK, found=f"free on {config.node.host}")
        elif problem.errno != errno.EADDRINUSE:
            yield Check(
                name=label,
                state=State.ERROR,
                found=f"cannot be opened on {config.node.host} ({problem.strerror or problem})",
                cure="Ports under 1024 need special rights; [node] host must be an address of this machine",
            )
        elif (
            answer := echo(config.node.ae_title, _callable(config.node.host), port, name == "tls_port")
        ).outcome == "success":
            yield Check(
                name=label,
                state=State.OK,
                found=f"a node called {config.node.ae_title} answers there already",
            )
        elif answer.outcome == "refused":
            yield Check(name=label, state=State.OK, found=f"a DICOM node is there already ({answer.words})")
        else:
            yield Check(
                name=label,
                state=State.ERROR,
                found=f"taken on {config.node.host} by a program that does not speak DICOM",
                cure=f"Stop that program, or set [node] {name} to another number",
            )


def _callable(host: str) -> str:
    """An address to call ourselves by: the one that is bound, or this machine where all are."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def weights(config: Config) -> Check:
    """Are the weights there, whole (their digest is checked as they are read) and of this code?"""
    from medk2n_node.errors import StoreError
    from medk2n_node.models import choose, load_in_force
    from model import ModelError

    try:
        choice = choose(config)
        bundle = load_in_force(config)
    except (ModelError, StoreError) as error:
        return Check(
            name="weights", state=State.ERROR, found=f"{error.subject}: {error.reason}", cure=error.cure
        )
    words = f"{bundle.name} {bundle.version}, digest {bundle.digest[:12]}, {', '.join(bundle.contrasts)}"
    if choice.because == "packaged":
        words += " (demonstration weights: not for clinical use)"
    return Check(name="weights", state=State.OK, found=words)


def device(config: Config) -> Check:
    """Does the device compute, and rightly? One product of matrices is compared with the same in double precision."""
    import torch

    wanted = config.synthesis.device
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.rand(MATMUL_SIZE, MATMUL_SIZE, generator=generator) for _ in range(2))
    try:
        left_there, right_there = left.to(chosen), right.to(chosen)
        product = (left_there @ right_there).cpu()  # warms up: the first call loads libraries
        started = time.perf_counter()
        product = (left_there @ right_there).cpu()
        seconds = time.perf_counter() - started
    except (RuntimeError, AssertionError) as error:  # PyTorch asserts that it was built with CUDA
        return Check(
            name="device",
            state=State.ERROR,
            found=f"{chosen} cannot be used ({str(error).splitlines()[0]})",
            cure='Set [synthesis] device = "cpu", or install the driver and the PyTorch build for this device',
        )
    worst = float((product.double() - left.double() @ right.double()).abs().max())
    rate = 2 * MATMUL_SIZE**3 / seconds / 1e9
    named = (
        torch.cuda.get_device_name(chosen)
        if chosen.startswith("cuda")
        else f"{torch.get_num_threads()} threads"
    )
    found = f"{chosen} ({named}), PyTorch {torch.__version__}, {rate:.0f} GFLOP/s"
    # Sums of 1024 products near 1/4 in fp32 (or TF32, 10 bits of mantissa) stay well within this.
    if worst > 0.5:
        return Check(
            name="device",
            state=State.ERROR,
            found=f"{found}, but a product of matrices is wrong by {worst:.3g}",
            cure="Do not use this device; check its memory and driver",
        )
    return Check(name="device", state=State.OK, found=found)


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _cannot_bind(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None
