"""DICOM over TLS: client certificates, both versions, and silent callers that must not stop the others."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medk2n_node.cli import main
from medk2n_node.config import Config, PeerSection, load_config
from medk2n_node.store.tables import Instance
from tests import peers
from tests.objects import mr_slice, write_file
from tests.raw_sender import RawSender
from tests.receiving import Receiver, receiver

pytestmark = pytest.mark.peer


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([peers.program("openssl"), *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.crt, and node, client and stranger as .key and .crt; the stranger's is signed by itself."""
    folder = tmp_path_factory.mktemp("certificates")
    new_key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(folder, "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Test CA")
    for name in ("node", "client"):
        openssl(
            folder,
            "req",
            *new_key[:3],
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
        )
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl(
            folder, "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", f"{name}.crt", "-extfile", "names",
        )  # fmt: skip
    openssl(
        folder, "req", "-x509", *new_key, "-keyout", "stranger.key", "-out", "stranger.crt", "-subj", "/CN=S"
    )
    return folder


@pytest.fixture
def tls_config(node_config: Config, certificates: Path) -> Config:
    files = {
        "tls_port": peers.free_port(),
        "tls_certificate": str(certificates / "node.crt"),
        "tls_key": str(certificates / "node.key"),
        "tls_authorities": str(certificates / "ca.crt"),
    }
    return node_config.model_copy(update={"node": node_config.node.model_copy(update=files)})


@pytest.fixture
def node(tls_config: Config) -> Iterator[Receiver]:
    with receiver(tls_config) as running:
        yield running


def client(certificates: Path, name: str | None, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.minimum_version = context.maximum_version = version
    if name:
        context.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
    return context


def dcmtk_options(certificates: Path, name: str) -> list[str]:
    files = [str(certificates / f"{name}.key"), str(certificates / f"{name}.crt")]
    return ["+tls", *files, "+cf", str(certificates / "ca.crt")]


def test_dcmtk_sends_over_tls(node: Receiver, tls_config: Config, certificates: Path, tmp_path: Path) -> None:
    write_file(mr_slice(rows=256, columns=256), tmp_path / "sent" / "a.dcm")
    options = dcmtk_options(certificates, "client")
    sent = peers.storescu(tls_config.node.tls_port, tmp_path / "sent", options=options)
    assert sent.returncode == 0, sent.stderr
    assert len(node.rows(Instance)) == 1


def test_our_own_commands_call_over_tls(
    node: Receiver, tls_config: Config, certificates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_file(mr_slice(), tmp_path / "sent" / "a.dcm")
    file = tmp_path / "site.toml"
    file.write_text(
        f'[node]\ntls_certificate = "{certificates}/client.crt"\ntls_key = "{certificates}/client.key"\n'
        f'tls_authorities = "{certificates}/ca.crt"\n'
        f'[[destinations]]\nname = "safe"\nae_title = "MEDK2N"\nhost = "127.0.0.1"\n'
        f"port = {tls_config.node.tls_port}\ntls = true\n",
        encoding="utf-8",
    )
    assert load_config(file, {}).destinations[0].tls
    assert main(["--config", str(file), "echo", "safe"]) == 0
    assert main(["--config", str(file), "send", str(tmp_path / "sent"), "--to", "safe"]) == 0
    assert "1 of 1 objects accepted" in capsys.readouterr().out
    assert len(node.rows(Instance)) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_are_spoken(
    node: Receiver, tls_config: Config, certificates: Path, version: ssl.TLSVersion
) -> None:
    context = client(certificates, "client", version)
    with RawSender(tls_config.node.tls_port) as sender:
        sender.socket = context.wrap_socket(sender.socket, server_hostname="127.0.0.1")
        sender.associate()
        sender.release()


@pytest.mark.parametrize("name", [None, "stranger"])
def test_a_caller_without_a_certificate_of_ours_is_refused(
    node: Receiver, tls_config: Config, certificates: Path, name: str | None
) -> None:
    context = client(certificates, name, ssl.TLSVersion.TLSv1_2)
    with (
        socket.create_connection(("127.0.0.1", tls_config.node.tls_port), timeout=10) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_silent_callers_on_the_tls_port_keep_nobody_out(
    node: Receiver, tls_config: Config, certificates: Path
) -> None:
    silent = [socket.create_connection(("127.0.0.1", tls_config.node.tls_port)) for _ in range(8)]
    started = time.monotonic()
    echo = peers.echoscu(tls_config.node.tls_port, options=dcmtk_options(certificates, "client"))
    assert echo.returncode == 0, echo.stderr
    assert time.monotonic() - started < 5
    for one in silent:
        one.close()


def test_a_peer_that_must_use_tls_is_rejected_without_it(tls_config: Config, certificates: Path) -> None:
    config = tls_config.model_copy(update={"peers": (PeerSection(ae_title="SAFE", tls=True),)})
    with receiver(config) as node:
        plain = peers.echoscu(node.port, calling_ae="SAFE")
        assert plain.returncode != 0
        options = dcmtk_options(certificates, "client")
        assert peers.echoscu(config.node.tls_port, calling_ae="SAFE", options=options).returncode == 0
