"""Objects to a PACS the way the node sends its results: files, C-STORE by the node's own sender, answers kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from dicom_rules.derive import to_part10
from medk2n_node.delivery.scu import Address, Outgoing, send
from medk2n_node.delivery.statuses import Response


def deliver(folder: Path, objects: Sequence[Dataset], *, host: str, port: int, called_ae: str) -> list[str]:
    """Write `objects` below `folder` and send them; gives every status but 0000."""
    folder.mkdir(parents=True, exist_ok=True)
    outgoing = []
    for number, one in enumerate(objects):
        content = to_part10(one)
        path = folder / f"{number:05d}.dcm"
        path.write_bytes(content)
        outgoing.append(
            Outgoing(
                sop_uid=str(one.SOPInstanceUID),
                sop_class=str(one.SOPClassUID),
                path=path,
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    address = Address(
        name="pacs",
        calling_ae="MEDK2N",
        called_ae=called_ae,
        host=host,
        port=port,
        connect_timeout_s=20,
        response_timeout_s=15,
    )
    answers: dict[str, Response] = {}

    def keep(one: Outgoing, response: Response) -> None:
        if response.status is not None:
            answers[one.sop_uid] = response

    # As the ledger does: what was not answered is offered again. On a busy machine pynetdicom loses an answer at times.
    for _ in range(4):
        left = [one for one in outgoing if one.sop_uid not in answers]
        if not left:
            break
        send(address, left, keep)
    assert len(answers) == len(objects)
    return [f"{answer.status} {answer.words}" for answer in answers.values() if answer.status != "0000"]
