"""The ports, the threads and the limits. Accepting never waits for any caller."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable

from medk2n_node.config import Config
from medk2n_node.errors import ConfigError, NodeError
from medk2n_node.listener.conversation import Conversation, Surroundings
from medk2n_node.listener.negotiation import Refusal, local_limit_exceeded
from medk2n_node.observe import get_logger
from medk2n_node.store import Store

BACKLOG = 256
LOOK_AROUND_SECONDS = 1.0  # how late a caller that takes too long may be noticed
QUIET_SECONDS = 1.0  # an association without traffic for this long is not in the middle of something
OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = get_logger("listener")


class Listener:
    """The Storage and Verification SCP. `start` returns when the ports are open; `stop` when all is closed."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._lock = threading.Lock()
        self._conversations: set[Conversation] = set()
        self._established: Counter[str] = Counter()
        self._admitted: dict[Conversation, str] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = socket.socketpair()
        self._tls_context = _tls_context(config) if config.node.tls_port else None
        self._plain_socket = _listen(config.node.host, config.node.port, "node.port")
        self._tls_socket: socket.socket | None = None
        if self._tls_context is not None:
            try:
                self._tls_socket = _listen(config.node.host, config.node.tls_port, "node.tls_port")
            except NodeError:
                self._plain_socket.close()
                raise
        self.port: int = self._plain_socket.getsockname()[1]
        """The port without TLS that is open (the system's choice where 0 was configured)."""
        # The bound port proves that an earlier listener of this name no longer lives.
        self.name = f"{socket.gethostname()}:{config.node.host}:{self.port}"[:255]
        self._around = Surroundings(
            config=config, store=store, name=self.name, admit=self._admit, stopping=self._stopping
        )

    def start(self) -> None:
        """Find again what a crash left behind, then begin to accept."""
        closed = self._store.close_crashed(self.name)
        report = self._store.sweep()
        if closed or report.adopted or report.quarantined:
            log.warning(
                "recovered from a crash",
                associations_closed=closed,
                adopted=report.adopted,
                quarantined=report.quarantined,
            )
        self._thread = threading.Thread(target=self._accept, name="accept", daemon=True)
        self._thread.start()
        log.info(
            "listening",
            ae_title=self._config.node.ae_title,
            host=self._config.node.host,
            port=self.port,
            tls_port=self._config.node.tls_port or None,
            peers=len(self._config.peers) or "this machine only",
        )

    def stop(self) -> None:
        """Stop accepting, let open associations end for `shutdown_seconds`, then hang up on what is left.

        An association between two messages that has been quiet for a while is not waited for. Stopping twice is
        the same as stopping once.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake_write.send(b"x")
        if self._thread is not None:
            self._thread.join()
        for one in (self._plain_socket, self._tls_socket, self._wake_read, self._wake_write):
            if one is not None:
                one.close()
        deadline = time.monotonic() + self._config.listener.shutdown_seconds
        while (open_now := self._open()) and time.monotonic() < deadline:
            since = time.monotonic() - QUIET_SECONDS
            if not any(one.within_message or one.last_active > since for one in open_now):
                break
            time.sleep(0.05)
        for conversation in self._open():
            conversation.hang_up()
        limit = time.monotonic() + 5.0
        while self._open() and time.monotonic() < limit:
            time.sleep(0.02)
        log.info("stopped", connections_left=len(self._open()))

    @property
    def associations(self) -> int:
        """How many associations stand now."""
        with self._lock:
            return len(self._admitted)

    @property
    def connections(self) -> int:
        """How many connections are open now, associations among them."""
        with self._lock:
            return len(self._conversations)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.register(self._plain_socket, selectors.EVENT_READ, data=False)
            if self._tls_socket is not None:
                selector.register(self._tls_socket, selectors.EVENT_READ, data=True)
            while not self._stopping.is_set():
                waiting = self._negotiating()
                for key, _ in selector.select(LOOK_AROUND_SECONDS if waiting else None):
                    if key.data is not None and isinstance(key.fileobj, socket.socket):
                        self._take(key.fileobj, over_tls=bool(key.data))
                self._hang_up_on_the_slow(waiting)

    def _take(self, listening: socket.socket, *, over_tls: bool) -> None:
        try:
            connection, peer = listening.accept()
        except OSError as error:  # the caller has gone again, or we are out of descriptors
            if error.errno in OUT_OF_DESCRIPTORS:
                log.error("no connection can be accepted", reason=error.strerror)
                time.sleep(0.1)
            return
        conversation = Conversation(
            connection, peer[0], self._around, tls=self._tls_context if over_tls else None
        )
        self._make_room()
        with self._lock:
            self._conversations.add(conversation)
        thread = threading.Thread(target=self._run, args=(conversation,), name=f"peer {peer[0]}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.error("no thread can be started", reason=str(error))
            self._forget(conversation)
            connection.close()

    def _run(self, conversation: Conversation) -> None:
        try:
            conversation.run()
        except Exception:
            # A defect of ours must end one association, in the log of the node, and no other.
            log.exception("a conversation failed", peer=conversation.address)
        finally:
            self._forget(conversation)

    def _make_room(self) -> None:
        """Connections that have not said who they are must not keep out those that will: the oldest goes."""
        waiting = self._negotiating()
        if len(waiting) >= 2 * self._config.listener.max_associations:
            min(waiting, key=lambda one: one.started).hang_up()

    def _hang_up_on_the_slow(self, waiting: list[Conversation]) -> None:
        """A socket's own timeout counts from one byte to the next; this one counts from the first."""
        limit = self._config.listener.negotiation_timeout_seconds
        for conversation in waiting:
            if conversation.negotiating and time.monotonic() - conversation.started > limit:
                conversation.hang_up()

    def _admit(self, conversation: Conversation) -> Refusal | None:
        limits = self._config.listener
        if self._stopping.is_set():
            return local_limit_exceeded("the listener is being stopped")
        with self._lock:
            if len(self._admitted) >= limits.max_associations:
                return local_limit_exceeded(f"{len(self._admitted)} associations are open (max_associations)")
            if self._established[conversation.address] >= limits.max_associations_per_host:
                return local_limit_exceeded(
                    f"{self._established[conversation.address]} associations from this address are open "
                    "(max_associations_per_host)"
                )
            self._admitted[conversation] = conversation.address
            self._established[conversation.address] += 1
        return None

    def _forget(self, conversation: Conversation) -> None:
        with self._lock:
            self._conversations.discard(conversation)
            address = self._admitted.pop(conversation, None)
            if address is not None:
                self._established[address] -= 1
                if not self._established[address]:
                    del self._established[address]

    def _open(self) -> list[Conversation]:
        with self._lock:
            return list(self._conversations)

    def _negotiating(self) -> list[Conversation]:
        return [one for one in self._open() if one.negotiating]


def _listen(host: str, port: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise NodeError(
            code="port_unusable",
            subject=f"{key} {host}:{port}",
            reason=f"the port cannot be opened ({error.strerror or error})",
            cure="Stop the program that uses it, or set another port; ports below 1024 need rights",
        ) from error
    return listening


def _tls_context(config: Config) -> ssl.SSLContext:
    """TLS 1.2 and up (BCP 195, PS3.15 B.12); with authorities, only callers whose certificate they signed."""
    node = config.node
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(node.tls_certificate, node.tls_key)
        if node.tls_authorities:
            context.load_verify_locations(node.tls_authorities)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            code="tls_unusable",
            subject="node.tls_certificate, tls_key, tls_authorities",
            reason=f"the files cannot be used ({error.strerror or error})",
            cure="Give PEM files that belong together",
        ) from error
    return context


def serve_until(listener: Listener, wait: Callable[[], object]) -> None:
    """Run a listener until `wait` returns, then stop it."""
    listener.start()
    try:
        wait()
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            listener.stop()
