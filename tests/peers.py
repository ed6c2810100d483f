"""Strangers to talk to: Orthanc as the PACS, DCMTK as modality and archive, Chromium, our own listener as a process.

Everything binds a free port of the loopback address, runs with TCP_NODELAY=1 (without it Nagle's algorithm
and delayed acknowledgements cap an association near 20 images a second), and is stopped and waited for at
the end of its `with` block. A program that is not installed skips the test with one line, and fails it in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

START_SECONDS = 30.0
ORTHANC_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
ORTHANC_PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")


def program(name: str) -> str:
    """The path of an installed program; skips the test where it is missing, fails it in CI.

    Never from a Python environment: pynetdicom brings a `storescu` of its own, which in an activated environment
    stands before DCMTK's.
    """
    places = os.environ.get("PATH", "").split(os.pathsep)
    strangers = [place for place in places if place and not (Path(place).parent / "pyvenv.cfg").exists()]
    found = shutil.which(name, path=os.pathsep.join([*strangers, *ORTHANC_PLACES]))
    return found or missing(f"{name} is not installed")


def missing(line: str) -> NoReturn:
    """Skip the test with one plain line; in CI, where everything is installed, fail it."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(line)
    pytest.skip(line)


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def peer_environment(**more: str) -> dict[str, str]:
    """The environment in which foreign programs run."""
    return {**os.environ, "TCP_NODELAY": "1", **more}


@contextmanager
def running(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives for the `with` block; what it prints lies in `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else peer_environment(),
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(15)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return as soon as something accepts on `port`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"it ended with {process.returncode}:\n{log.read_text(errors='replace')}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(
        f"nothing on port {port} after {START_SECONDS} s:\n{log.read_text(errors='replace')}"
    )


@dataclass(frozen=True, kw_only=True)
class Orthanc:
    """A running Orthanc."""

    ae_title: str
    host: str
    port: int
    http_port: int

    @property
    def url(self) -> str:
        """The root of its REST interface."""
        return f"http://{self.host}:{self.http_port}"

    def get(self, path: str) -> Any:
        """What its REST interface answers, as JSON."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)

    def file(self, instance: str) -> bytes:
        """The DICOM file of an instance (Orthanc's own id)."""
        with urllib.request.urlopen(f"{self.url}/instances/{instance}/file", timeout=30) as answer:
            data: bytes = answer.read()
            return data

    def series(self) -> list[dict[str, Any]]:
        """All series it holds, with their main tags and the ids of their instances."""
        found: list[dict[str, Any]] = self.get("/series?expand")
        return found

    def instance_count(self) -> int:
        """How many instances it holds."""
        count: int = self.get("/statistics")["CountInstances"]
        return count


@contextmanager
def orthanc(
    folder: Path,
    *,
    ae_title: str = "ORTHANC",
    known: Mapping[str, tuple[str, int]] | None = None,
    web: bool = False,
    pages: Mapping[str, Path] | None = None,
) -> Iterator[Orthanc]:
    """A PACS. `known` are AE titles with host and port that it may move studies to and answers queries of.

    `web` switches DICOMweb on (below /dicom-web); `pages` are folders that it serves over HTTP, by their path.
    """
    executable = program("Orthanc")
    plugins = [orthanc_plugin("DicomWeb")] if web else []
    plugins += [orthanc_plugin("ServeFolders")] if pages else []
    folder.mkdir(parents=True, exist_ok=True)
    port, http_port = free_port(), free_port()
    configuration = {
        "Name": ae_title,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": ae_title,
        "DicomPort": port,
        "HttpPort": http_port,
        "HttpBindAddresses": ["127.0.0.1"],
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "SyncStorageArea": False,
        "StableAge": 2,
        "DicomModalities": {name: [name, host, number] for name, (host, number) in (known or {}).items()},
        "Plugins": plugins,
        "DicomWeb": {"Enable": web},
        "ServeFolders": {
            "AllowCache": False,
            "GenerateETag": True,
            "Extensions": {"mjs": "text/javascript", "wasm": "application/wasm"},
            "Folders": {path: str(place) for path, place in (pages or {}).items()},
        },
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration, indent=1), encoding="utf-8")
    log = folder / "orthanc.log"
    with running([executable, str(file)], log) as process:
        wait_for_port(http_port, process, log)
        wait_for_port(port, process, log)
        yield Orthanc(ae_title=ae_title, host="127.0.0.1", port=port, http_port=http_port)


def orthanc_plugin(name: str) -> str:
    """The path of a plugin of Orthanc's; skips the test where it is missing, fails it in CI."""
    places = [path for folder in ORTHANC_PLUGINS for path in Path(folder).glob(f"lib*{name}.so*")]
    if not places:
        missing(f"Orthanc's plugin {name} is not installed")
    return str(places[0])


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A running DCMTK storescp; what it received lies in `folder`."""

    ae_title: str
    host: str
    port: int
    folder: Path

    def files(self) -> list[Path]:
        """The objects it received so far."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


@contextmanager
def storescp(folder: Path, *, ae_title: str = "ARCHIVE", options: Sequence[str] = ()) -> Iterator[Archive]:
    """DCMTK's receiver: takes everything, one process for each association."""
    executable = program("storescp")
    received = folder / "received"
    received.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = folder / "storescp.log"
    command = [
        executable,
        "--fork",
        "--promiscuous",
        "-aet",
        ae_title,
        "-od",
        str(received),
        *options,
        str(port),
    ]
    with running(command, log) as process:
        wait_for_port(port, process, log)
        yield Archive(ae_title=ae_title, host="127.0.0.1", port=port, folder=received)


POSTGRESQL_PLACES = "/usr/lib/postgresql"


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL server with an empty database, on the loopback address; gives its SQLAlchemy URL."""
    installed = sorted(Path(POSTGRESQL_PLACES).glob("*/bin/initdb"))
    programs = installed[-1].parent if installed else Path(program("initdb")).parent
    # A folder of its own: the server's user could not reach into those of the tests.
    with tempfile.TemporaryDirectory(prefix="medk2n-postgresql-") as name:
        folder = Path(name)
        as_server: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root; Debian's package brings a user for it
            as_server = [program("runuser"), "-u", "postgres", "--"]
            shutil.chown(folder, "postgres")
        data, port = folder / "data", free_port()
        subprocess.run(
            [*as_server, str(programs / "initdb"), "-D", str(data), "-U", "node", "-A", "trust", "-N"],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        log = folder / "postgresql.log"
        command = [
            *as_server, str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder),
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
        ]  # fmt: skip
        with running(command, log) as process:
            wait_for_port(port, process, log)
            ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            deadline = time.monotonic() + START_SECONDS
            while subprocess.run(ready, check=False).returncode:
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                time.sleep(0.1)
            yield f"postgresql+psycopg://node@127.0.0.1:{port}/postgres"


def storescu(
    port: int,
    *paths: Path,
    options: Sequence[str] = (),
    calling_ae: str = "MODALITY",
    called_ae: str = "MEDK2N",
) -> subprocess.CompletedProcess[str]:
    """DCMTK's sender: everything below `paths` over one association."""
    command = [
        program("storescu"), "-aet", calling_ae, "-aec", called_ae, "--max-send-pdu", "131072", *options,
        "--scan-directories", "--recurse", "127.0.0.1", str(port), *(str(path) for path in paths),
    ]  # fmt: skip
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=peer_environment(),
        timeout=300,
        check=False,
    )


def echoscu(
    port: int, *, options: Sequence[str] = (), calling_ae: str = "MODALITY", called_ae: str = "MEDK2N"
) -> subprocess.CompletedProcess[str]:
    """DCMTK's C-ECHO."""
    command = [
        program("echoscu"),
        "-v",
        "-aet",
        calling_ae,
        "-aec",
        called_ae,
        *options,
        "127.0.0.1",
        str(port),
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=peer_environment(),
        timeout=60,
        check=False,
    )


@dataclass(frozen=True, kw_only=True)
class ListenerProcess:
    """Our listener as a process of its own."""

    process: subprocess.Popen[bytes]
    port: int
    config_file: Path
    log: Path

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(15)


CHROMIUM_OPTIONS = (
    "--no-sandbox",  # the tests run as root in CI, and open nothing but pages of this machine
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a window, under a profile of its own that goes with it."""
    executable = program("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("playwright is not installed")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=list(CHROMIUM_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


LISTEN = (
    "import os, sys; from pathlib import Path; from medk2n_node.config import load_config; "
    "from medk2n_node.listener import run; run(load_config(Path(sys.argv[1]), os.environ))"
)


@contextmanager
def listener(folder: Path, *, settings: str = "", port: int | None = None) -> Iterator[ListenerProcess]:
    """Start the listener on the storage and database below `folder`; `settings` is TOML to add."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = port or free_port()
    file = folder / "node.toml"
    file.write_text(
        f'[node]\nport = {chosen}\nstorage = "storage"\ndatabase = "sqlite:///medk2n.db"\n'
        f'[observe]\nlog_format = "json"\n{settings}',
        encoding="utf-8",
    )
    log = folder / "listener.log"
    with running([sys.executable, "-c", LISTEN, str(file)], log, environment=os.environ) as process:
        wait_for_port(chosen, process, log)
        yield ListenerProcess(process=process, port=chosen, config_file=file, log=log)
