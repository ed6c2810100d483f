"""Everything that cannot be used ends in a state with a sentence that `studies show` prints; the node goes on."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from medk2n_node.config import load_config
from medk2n_node.store import open_store
from medk2n_node.store.tables import Instance, Quarantine
from tests.integration import phantom
from tests.integration.ward import Ward
from tests.objects import EXPLICIT, MR, encoded, mr_slice, new_uid
from tests.raw_sender import RawSender

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _both(change: Callable[[int, Dataset], None]) -> Callable[[phantom.Study], None]:
    def spoil(study: phantom.Study) -> None:
        for objects in study.values():
            phantom.spoil(objects, change)

    return spoil


def _one_slice(study: phantom.Study) -> None:
    for objects in study.values():
        del objects[1:]


def _gap(study: phantom.Study) -> None:
    for objects in study.values():
        del objects[7:10]


def _turned(index: int, one: Dataset) -> None:
    if index % 2:
        one.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def _other_grid(index: int, one: Dataset) -> None:
    if index > 10:
        one.PixelSpacing = [0.5, 0.5]


def _knee(index: int, one: Dataset) -> None:
    one.BodyPartExamined = "KNEE"
    one.StudyDescription = "MR knee"


def _no_position(index: int, one: Dataset) -> None:
    if index == 3:
        del one.ImagePositionPatient


SPOILT: dict[str, tuple[Callable[[phantom.Study], None], str]] = {
    "all-zero pixels": (_both(phantom.blank), "blank|zero|nothing"),
    "one slice": (_one_slice, "one slice|single slice|only 1 slice"),
    "a gap": (_gap, "missing|gap"),
    "mixed orientation": (_both(_turned), "orientation|plane"),
    "inconsistent geometry": (_both(_other_grid), "spacing|differ"),
    "missing position": (_both(_no_position), "position"),
    "a knee": (_both(_knee), "KNEE|not a head|no head"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_study_that_cannot_be_used_is_refused_with_the_reason(
    name: str, ward: Ward, study: phantom.Study
) -> None:
    spoil, pattern = SPOILT[name]
    uid, sent = phantom.under_new_uids({contrast: study[contrast] for contrast in ("T1", "T2")}, name)
    spoil(sent)
    ward.node.send_datasets(phantom.flat(sent))
    document = ward.node.wait(uid, "REFUSED", "HELD", seconds=120)
    assert document["words"]
    assert [one["kind"] for one in document["results"]] == ["report"]
    assert ward.pacs.images(uid) == []
    printed = ward.node.command("studies", "show", uid).stdout
    assert re.search(pattern, printed, re.IGNORECASE), printed
    assert f"{document['state']} (revision {document['revision']}): {document['words']}" in printed


def test_two_patients_under_one_study_uid_are_held_for_a_person(ward: Ward, study: phantom.Study) -> None:
    uid, sent = phantom.under_new_uids({contrast: study[contrast] for contrast in ("T1", "T2")}, "two")
    for one in sent["T2"]:
        one.PatientID, one.PatientName = "SOMEBODY-ELSE", "Else^Somebody"
    ward.node.send_datasets(phantom.flat(sent))
    document = ward.node.wait(uid, "HELD", seconds=120)
    assert document["code"] == "two_patients"
    assert "2 different patients under one Study Instance UID" in document["words"]
    assert document["release"]
    assert document["results"] == []
    printed = ward.node.command("studies", "show", uid).stdout
    assert "what helps: " in printed
    assert "nobody can say into whose record it belongs" in printed
    assert "SOMEBODY" not in printed + ward.node.log()
    retried = ward.node.command("studies", "retry", uid)
    assert retried.stdout == "Revision 1 is SETTLED again; a running worker takes it up.\n"
    assert (
        ward.node.wait(uid, "HELD", seconds=120)["history"][-2]["reason"]
        == "a person asked for another attempt"
    )


def test_bytes_that_are_no_dicom_are_set_aside_and_shown(ward: Ward) -> None:
    uid = new_uid()
    with RawSender(ward.node.port) as sender:
        sender.associate()
        status, comment = sender.store(b"this is not a data set, whatever the request says" * 20, sop_uid=uid)
        assert status & 0xF000 == 0xC000, (hex(status), comment)
        again = mr_slice()
        status, _ = sender.store(encoded(again), sop_uid=str(again.SOPInstanceUID))
        assert status == 0x0000, "the association goes on"
    printed = ward.node.command("studies", "show", "unfiled").stdout
    assert comment in printed
    assert "set aside without a study" in ward.node.command("studies", "list").stdout


def test_a_truncated_object_is_set_aside_under_its_study(ward: Ward) -> None:
    whole = mr_slice()
    with RawSender(ward.node.port) as sender:
        sender.associate([(MR, (EXPLICIT,))])
        status, comment = sender.store(encoded(whole)[:-100], sop_uid=str(whole.SOPInstanceUID))
    assert status & 0xF000 == 0xC000
    document = ward.node.show(str(whole.StudyInstanceUID))
    assert (document["state"], document["revision"]) == ("REFUSED", 0)
    assert comment in document["words"]
    assert ward.node.command("studies", "list").stdout.count(str(whole.StudyInstanceUID)) == 1


def test_an_object_without_its_uids_is_set_aside_and_shown(ward: Ward) -> None:
    nameless = mr_slice()
    sop_uid = str(nameless.SOPInstanceUID)
    del nameless.StudyInstanceUID, nameless.SeriesInstanceUID
    with RawSender(ward.node.port) as sender:
        sender.associate()
        status, comment = sender.store(encoded(nameless), sop_uid=sop_uid)
    assert status & 0xF000 == 0xC000
    assert "Study Instance UID" in comment
    shown = ward.node.command("studies", "show", "unfiled").stdout
    assert comment in shown


def test_a_study_nobody_sent_is_named_with_exit_code_3(ward: Ward) -> None:
    done = ward.node.command("studies", "show", "1.2.3.4")
    assert done.returncode == 3
    assert done.stderr.startswith("error: study 1.2.3.4: no object of it was received.")


def test_nothing_that_was_received_is_deleted_and_the_node_still_answers(ward: Ward) -> None:
    storage = ward.node.folder / "storage"
    store = open_store(load_config(ward.node.config_file, {}))
    with store.reading() as session:
        paths = [row.path for table in (Instance, Quarantine) for row in session.query(table)]
    store.close()
    assert paths
    assert all((storage / path).is_file() for path in paths)
    assert ward.node.process.poll() is None
    ward.node.send_datasets([_with_meta(mr_slice())])


def _with_meta(dataset: Dataset) -> Dataset:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    return dataset
