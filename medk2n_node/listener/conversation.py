"""One association, from the request to its end, on a thread and a blocking socket of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from medk2n_node.config import Config
from medk2n_node.errors import StoreError
from medk2n_node.listener import negotiation, statuses, wire
from medk2n_node.listener.callers import why_not
from medk2n_node.listener.negotiation import Agreement, Context, Refusal
from medk2n_node.observe import get_logger
from medk2n_node.store import Intake, Outcome, Store

READ_BUFFER = 256 << 10
LARGEST_REQUEST = 1 << 20  # 128 contexts with every syntax there is stay far below
PDU_TOLERANCE = 1 << 20  # senders exist that send more than was agreed; what fits into memory is no harm
GOODBYE_SECONDS = 2.0  # the ARTIM timer (PS3.8 section 9.1.5): how long the peer may take to hang up

log = get_logger("listener")

Admission = Callable[["Conversation"], Refusal | None]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every conversation of a listener shares. `admit` counts the association in, or says why not."""

    config: Config
    store: Store
    name: str
    admit: Admission
    stopping: threading.Event


class Conversation:
    """A connection. `run` is its whole life; the other methods may be called from other threads."""

    def __init__(
        self, connection: socket.socket, address: str, around: Surroundings, *, tls: ssl.SSLContext | None
    ) -> None:
        self.address = address
        self.started = self.last_active = time.monotonic()
        self.negotiating = True
        self.within_message = False
        self._socket = connection
        self._around = around
        self._tls = tls
        self._stream: BinaryIO | None = None
        self._contexts: dict[int, Context] = {}
        self._calling_ae = ""
        self._association_id = ""
        self._largest_pdu = max(around.config.listener.max_pdu_bytes, PDU_TOLERANCE)

    def hang_up(self) -> None:
        """Make the thread's next read end: used on a caller that takes too long, and at shutdown."""
        with contextlib.suppress(OSError):
            # The plain socket's shutdown: that of an SSL socket would take its decryption away under a reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RD)

    def run(self) -> None:
        """Serve the connection to its end and leave nothing open. Nothing that a peer does gets out of here."""
        ending = "lost"
        try:
            self._socket.settimeout(self._around.config.listener.negotiation_timeout_seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self._socket = self._tls.wrap_socket(self._socket, server_side=True)
            self._stream = cast(BinaryIO, self._socket.makefile("rb", READ_BUFFER))
            if self._negotiate(self._stream):
                ending = self._serve(wire.Inbound(self._stream, self._largest_pdu))
        except TimeoutError:
            ending = "timeout"
            self._note("fell silent")
            self._abort(wire.NOT_SPECIFIED)
        except wire.ConnectionLostError as error:
            ending = "shutdown" if self._around.stopping.is_set() else "lost"
            self._note(str(error))
            self._abort(wire.NOT_SPECIFIED)
        except wire.ProtocolError as error:
            ending = "aborted"
            self._note(f"the peer sent {error}")
            self._abort(error.reason)
        except OSError as error:  # ssl.SSLError is one
            self._note(f"the connection broke ({error})")
        except StoreError as error:
            ending = "aborted"
            log.error("the store failed", peer=self.address, calling_ae=self._calling_ae, error=str(error))
            self._abort(wire.NOT_SPECIFIED)
        finally:
            self._close(ending)

    def _negotiate(self, stream: BinaryIO) -> bool:
        """Read the request and answer it; True when the association stands."""
        kind, payload = wire.read_pdu(stream, LARGEST_REQUEST)
        if kind == wire.ABORT:
            return False
        if kind != wire.ASSOCIATE_RQ:
            raise wire.ProtocolError("no association request to begin with", wire.UNEXPECTED_PDU)
        decision = self._decide(payload)
        if isinstance(decision, Agreement) and decision.stores:
            try:
                self._association_id = self._around.store.open_association(
                    calling_ae=self._calling_ae, peer=self.address, listener=self._around.name
                )
            except StoreError as error:
                log.error("the store failed", peer=self.address, error=str(error))
                decision = negotiation.temporary_congestion("the database does not take rows at present")
        self.negotiating = False
        self._socket.sendall(decision.answer)
        if isinstance(decision, Refusal):
            log.warning("association refused", peer=self.address, reason=decision.words)
            self._goodbye()
            return False
        self._contexts = dict(decision.contexts)
        log.debug("association accepted", peer=self.address, calling_ae=self._calling_ae)
        return True

    def _decide(self, payload: bytes) -> Agreement | Refusal:
        config = self._around.config
        request = negotiation.read_request(payload)
        if isinstance(request, Refusal):
            return request
        over_tls = self._tls is not None
        reason = why_not(request.calling_ae, self.address, over_tls=over_tls, peers=config.peers)
        if reason is not None:
            return negotiation.calling_ae_not_recognised(reason)
        if config.listener.require_called_ae and request.called_ae != config.node.ae_title:
            return negotiation.called_ae_not_recognised(
                f"{request.calling_ae!r} called {request.called_ae!r}, we are {config.node.ae_title!r}"
            )
        self._calling_ae = request.calling_ae
        refused = self._around.admit(self)
        return refused or negotiation.answer(request, max_pdu_bytes=config.listener.max_pdu_bytes)

    def _serve(self, inbound: wire.Inbound) -> str:
        """Answer messages until the association ends; gives how it ended."""
        limits = self._around.config.listener
        while True:
            self._socket.settimeout(limits.idle_timeout_seconds)
            first = inbound.next()
            self.last_active = time.monotonic()
            if first == wire.RELEASE_RQ:
                # The row before the answer: whoever saw the release succeed finds the association closed.
                self._close_row("released")
                self._socket.sendall(wire.RELEASE_RP_BYTES)
                self._goodbye()
                return "released"
            if first == wire.ABORT:
                return "aborted"
            if isinstance(first, int):
                raise wire.ProtocolError(
                    f"a PDU of type 0x{first:02X} within an association", wire.UNEXPECTED_PDU
                )
            self.within_message = True
            self._socket.settimeout(limits.message_timeout_seconds)
            context = self._contexts.get(first.context_id)
            if context is None or not first.is_command:
                raise wire.ProtocolError("a message in no context that was agreed on", wire.INVALID_PARAMETER)
            parts = inbound.rest(first, context_id=first.context_id, is_command=True)
            request = wire.decode_command(b"".join(parts))
            data_set: Iterator[memoryview] = iter(())
            if request.has_data_set:
                data_set = inbound.rest(None, context_id=first.context_id, is_command=False)
            status, comment = self._carry_out(request, context, data_set)
            if status is not None:
                self._socket.sendall(wire.encode_response(first.context_id, request, status, comment))
            self.last_active = time.monotonic()
            self.within_message = False

    def _carry_out(
        self, request: wire.Command, context: Context, data_set: Iterator[memoryview]
    ) -> tuple[int | None, str]:
        """Do what a request asks for; gives the status, None where there is no answer, and an Error Comment."""
        if request.field == wire.C_STORE_RQ and request.has_data_set:
            return self._store(request, context, data_set)
        for _ in data_set:
            pass  # the data set of a request that is not carried out must still be read to its end
        if request.field == wire.C_ECHO_RQ:
            return statuses.SUCCESS, ""
        if request.field == wire.C_STORE_RQ:
            return statuses.CANNOT_UNDERSTAND, "the request came without a data set"
        if request.field == wire.C_CANCEL_RQ:
            return None, ""
        if request.field & wire.RESPONSE:
            raise wire.ProtocolError("an answer to a request that was not made", wire.UNEXPECTED_PDU)
        return statuses.UNRECOGNISED_OPERATION, "this node takes C-STORE and C-ECHO"

    def _store(
        self, request: wire.Command, context: Context, data_set: Iterator[memoryview]
    ) -> tuple[int, str]:
        """Take in an object. Trouble of ours is answered once the object has been read to its end."""
        intake: Intake | None = None
        trouble: StoreError | None = None
        try:
            for data in data_set:
                if trouble is not None:
                    continue
                try:
                    if intake is None:
                        intake = self._around.store.receive(
                            sop_class=request.sop_class,
                            sop_uid=request.sop_uid,
                            transfer_syntax=context.transfer_syntax,
                            calling_ae=self._calling_ae,
                            association_id=self._association_id,
                        )
                    intake.write([data])
                except StoreError as error:
                    trouble = error
        except (wire.ConnectionLostError, wire.ProtocolError, OSError):
            if intake is not None and trouble is None:
                self._keep_fragment(intake)
            raise
        try:
            if trouble is not None:
                raise trouble
            if intake is None:
                return statuses.CANNOT_UNDERSTAND, "the data set is empty"
            outcome = self._finish(intake, request, context)
        except StoreError as error:
            if intake is not None:
                intake.refuse()
            log.error(
                "object refused", peer=self.address, calling_ae=self._calling_ae, sop_uid=request.sop_uid,
                code=error.code, error=str(error),
            )  # fmt: skip
            return statuses.OUT_OF_RESOURCES, error.reason
        return self._status_of(outcome)

    def _finish(self, intake: Intake, request: wire.Command, context: Context) -> Outcome:
        if request.sop_class != context.abstract_syntax:
            return intake.set_aside(
                "class_mismatch",
                f"sent as {request.sop_class} in a context that was agreed for {context.abstract_syntax}",
            )
        if not request.sop_uid:
            return intake.set_aside("missing_uid", "the request names no SOP Instance UID")
        return intake.keep()

    def _status_of(self, outcome: Outcome) -> tuple[int, str]:
        if outcome.kind in ("stored", "duplicate"):
            return statuses.SUCCESS, ""
        log.warning(
            "object set aside", peer=self.address, calling_ae=self._calling_ae, sop_uid=outcome.sop_uid,
            kind=outcome.kind, code=outcome.code, reason=outcome.words,
        )  # fmt: skip
        if outcome.kind == "quarantined":
            return statuses.of_quarantine(outcome.code), outcome.words
        if self._around.config.listener.duplicate_status == "duplicate":
            return statuses.DUPLICATE_SOP_INSTANCE, outcome.words
        return statuses.SUCCESS, ""

    def _keep_fragment(self, intake: Intake) -> None:
        """The connection ended within an object: what came of it was never acknowledged, and is set aside."""
        try:
            intake.set_aside(
                "interrupted", "the connection ended before the object was whole; never acknowledged"
            )
        except StoreError as error:
            log.error("the store failed", peer=self.address, calling_ae=self._calling_ae, error=str(error))

    def _note(self, words: str) -> None:
        # A connection that never said anything is a port probe: load balancers make one every few seconds.
        level = log.debug if self.negotiating else log.warning
        level("connection ended", peer=self.address, calling_ae=self._calling_ae, reason=words)

    def _abort(self, reason: int) -> None:
        """Tell the peer, where it can still hear it (PS3.8 section 9.2: no peer is left without an answer)."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(GOODBYE_SECONDS)
            self._socket.sendall(wire.encode_abort(source=2, reason=reason))
            self._goodbye()

    def _goodbye(self) -> None:
        """Let the peer hang up first, for a while: closing at once could destroy the answer on its way."""
        self._socket.settimeout(GOODBYE_SECONDS)
        until = time.monotonic() + GOODBYE_SECONDS
        with contextlib.suppress(OSError):
            while time.monotonic() < until and self._socket.recv(65536):
                pass

    def _close_row(self, ending: str) -> None:
        if self._association_id:
            association_id, self._association_id = self._association_id, ""
            self._around.store.close_association(association_id, ending)

    def _close(self, ending: str) -> None:
        try:
            self._close_row(ending)
        except StoreError as error:
            log.error("the store failed", peer=self.address, calling_ae=self._calling_ae, error=str(error))
        with contextlib.suppress(OSError):
            if self._stream is not None:
                self._stream.close()  # the descriptor stays open until both are
            self._socket.close()
