"""Who may call, and what is agreed on (PS3.8 section 7.1, PS3.7 annex D): a pure function of the request.

Bytes of an A-ASSOCIATE-RQ go in, bytes of an A-ASSOCIATE-AC or -RJ come out. pynetdicom's PDU classes read the
request; the AE titles are read here, since they must be judged before anything trusts them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.presentation import AllStoragePresentationContexts

from medk2n_node.listener.wire import (
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    INVALID_PARAMETER,
    ProtocolError,
    encode_reject,
)
from medk2n_node.store import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION

VERIFICATION = "1.2.840.10008.1.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
DICOM_ROOT = "1.2.840.10008."
NAMED_STORAGE = frozenset(str(context.abstract_syntax) for context in AllStoragePresentationContexts)

EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
COMPRESSED_LOSSLESS = frozenset(
    {
        "1.2.840.10008.1.2.4.57",  # JPEG Lossless, process 14
        "1.2.840.10008.1.2.4.70",  # JPEG Lossless, process 14, selection value 1
        "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
        "1.2.840.10008.1.2.4.90",  # JPEG 2000, lossless only
        "1.2.840.10008.1.2.5",  # RLE Lossless
    }
)

# Results of a presentation context (PS3.8 table 9-18).
ACCEPTED, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 3, 4

_MINIMUM_REQUEST = 68


@dataclass(frozen=True, kw_only=True)
class Context:
    """An agreed presentation context."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """An association request, read. `fixed` are the 68 bytes before the items, which the answer repeats."""

    calling_ae: str
    called_ae: str
    application_context: str
    contexts: Sequence[tuple[int, str, tuple[str, ...]]]
    fixed: bytes


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An association that is not accepted: the A-ASSOCIATE-RJ, and why in words."""

    answer: bytes
    words: str


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """An association that is accepted: the A-ASSOCIATE-AC and the contexts by their ids."""

    answer: bytes
    contexts: Mapping[int, Context] = field(default_factory=dict)

    @property
    def stores(self) -> bool:
        """Whether objects may be sent over it (an echo alone is no news of a study)."""
        return any(context.abstract_syntax != VERIFICATION for context in self.contexts.values())


def read_request(payload: bytes) -> Request | Refusal:
    """Read the payload of an A-ASSOCIATE-RQ.

    An AE title padded with NUL bytes is read as if padded with spaces: senders do it. Any other character
    outside the repertoire of the VR refuses the caller in words that show the bytes.

    Raises:
        ProtocolError: the payload is no association request.
    """
    if len(payload) < _MINIMUM_REQUEST:
        raise ProtocolError(f"an association request of {len(payload)} bytes", INVALID_PARAMETER)
    called, calling = (_title(payload[start : start + 16]) for start in (4, 20))
    if calling is None:
        shown = payload[20:36].rstrip(b"\0 ")
        return calling_ae_not_recognised(f"the calling AE title {shown!r} is not a valid AE title")
    if called is None:
        shown = payload[4:20].rstrip(b"\0 ")
        return Refusal(
            answer=encode_reject(result=1, source=1, reason=7),
            words=f"the called AE title {shown!r} is not a valid AE title",
        )
    # pynetdicom refuses to read such titles at all; it gets plain ones, the judgement is made.
    plain = payload[:4] + b"ANY-SCP         " + b"ANY-SCU         " + payload[36:]
    request = A_ASSOCIATE_RQ()
    try:
        request.decode(struct.pack(">BxI", ASSOCIATE_RQ, len(plain)) + plain)
        contexts = [
            (
                int(item.presentation_context_id or 0),
                str(item.abstract_syntax or ""),
                tuple(str(syntax) for syntax in item.transfer_syntax),
            )
            for item in request.presentation_context
        ]
        application_context = str(request.application_context_name or "")
    except Exception as error:
        raise ProtocolError(
            f"an association request that cannot be read ({error})", INVALID_PARAMETER
        ) from error
    return Request(
        calling_ae=calling,
        called_ae=called,
        application_context=application_context,
        contexts=contexts,
        fixed=payload[:68],
    )


def answer(request: Request, *, max_pdu_bytes: int) -> Agreement | Refusal:
    """Accept what we take of the proposed contexts."""
    if request.application_context != APPLICATION_CONTEXT:
        return Refusal(
            answer=encode_reject(result=1, source=1, reason=2),
            words=f"the application context {request.application_context!r} is not DICOM's",
        )
    agreed: dict[int, Context] = {}
    items = _item(0x10, APPLICATION_CONTEXT.encode())
    for context_id, abstract_syntax, offered in request.contexts:
        syntax = choose_transfer_syntax(abstract_syntax, offered)
        if not is_taken(abstract_syntax):
            result = NO_ABSTRACT_SYNTAX
        elif syntax is None:
            result = NO_TRANSFER_SYNTAX
        else:
            result = ACCEPTED
            agreed[context_id] = Context(abstract_syntax=abstract_syntax, transfer_syntax=syntax)
        # The transfer syntax of a context that is not accepted has no meaning but must stand there.
        stated = _item(0x40, (syntax or IMPLICIT_LE).encode())
        items += _item(0x21, struct.pack(">BxBx", context_id, result) + stated)
    items += _item(
        0x50,
        _item(0x51, struct.pack(">I", max_pdu_bytes))
        + _item(0x52, IMPLEMENTATION_UID.encode())
        + _item(0x55, IMPLEMENTATION_VERSION.encode()),
    )
    body = struct.pack(">H", 1) + request.fixed[2:] + items
    return Agreement(answer=struct.pack(">BxI", ASSOCIATE_AC, len(body)) + body, contexts=agreed)


def is_taken(abstract_syntax: str) -> bool:
    """Verification, and every storage class: those that are named, those that will be, private ones.

    A whole study goes to every node of a route; a class that is refused here is an error in the sender's log
    there. Outside DICOM's own root a UID does not tell storage from other services; a request other than
    C-STORE is then answered as unrecognised.
    """
    return (
        abstract_syntax == VERIFICATION
        or abstract_syntax.startswith(STORAGE_ROOT)
        or abstract_syntax in NAMED_STORAGE
        or (bool(abstract_syntax) and not abstract_syntax.startswith(DICOM_ROOT))
    )


def choose_transfer_syntax(abstract_syntax: str, offered: Sequence[str]) -> str | None:
    """Explicit before implicit before the sender's first lossless compression; a lossy one never."""
    for plain in (EXPLICIT_LE, IMPLICIT_LE):
        if plain in offered:
            return plain
    if abstract_syntax == VERIFICATION:
        return None
    return next((syntax for syntax in offered if syntax in COMPRESSED_LOSSLESS), None)


def calling_ae_not_recognised(words: str) -> Refusal:
    """Rejected permanently by the service user: calling AE title not recognised."""
    return Refusal(answer=encode_reject(result=1, source=1, reason=3), words=words)


def called_ae_not_recognised(words: str) -> Refusal:
    """Rejected permanently by the service user: called AE title not recognised."""
    return Refusal(answer=encode_reject(result=1, source=1, reason=7), words=words)


def local_limit_exceeded(words: str) -> Refusal:
    """Rejected for now by the service provider: local limit exceeded."""
    return Refusal(answer=encode_reject(result=2, source=3, reason=2), words=words)


def temporary_congestion(words: str) -> Refusal:
    """Rejected for now by the service provider: temporary congestion."""
    return Refusal(answer=encode_reject(result=2, source=3, reason=1), words=words)


def _title(raw: bytes) -> str | None:
    text = raw.rstrip(b"\0 ").lstrip(b" ")
    if not text or any(not 0x20 <= byte < 0x7F or byte == 0x5C for byte in text):
        return None
    return text.decode("ascii")


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value
