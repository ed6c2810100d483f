"""Is a received data set whole, and who is it?"""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medk2n_node.store.structure import UnreadableError, identify, is_uid, peek
from tests.objects import EXPLICIT, IMPLICIT, data_set_bytes, encoded, mr_slice

J2K = "1.2.840.10008.1.2.4.90"


def fault(data: bytes, transfer_syntax: str = EXPLICIT) -> UnreadableError:
    with pytest.raises(UnreadableError) as caught:
        identify(memoryview(data), transfer_syntax)
    return caught.value


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT])
def test_the_uids_of_an_object_are_found(transfer_syntax: str) -> None:
    dataset = mr_slice(patient_id="A-17 ")
    identity = identify(memoryview(encoded(dataset, transfer_syntax)), transfer_syntax)
    assert identity.sop_uid == dataset.SOPInstanceUID
    assert identity.sop_class == dataset.SOPClassUID
    assert identity.study_uid == dataset.StudyInstanceUID
    assert identity.series_uid == dataset.SeriesInstanceUID
    assert identity.modality == "MR"
    assert identity.patient == b"A-17"


def test_every_real_object_at_hand_is_read_as_pydicom_reads_it(shared_data: Path) -> None:
    files = sorted((shared_data / "dicom").rglob("*.dcm"))
    assert len(files) > 150
    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        syntax = str(header.file_meta.TransferSyntaxUID)
        identity = identify(memoryview(data_set_bytes(file)), syntax)
        assert (identity.sop_uid, identity.study_uid, identity.series_uid) == (
            header.SOPInstanceUID,
            header.StudyInstanceUID,
            header.SeriesInstanceUID,
        ), file


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT])
def test_sequences_of_undefined_length_within_each_other_are_walked(transfer_syntax: str) -> None:
    dataset = mr_slice()
    inner = Dataset()
    inner.CodeValue = "T-A0100"
    inner.is_undefined_length_sequence_item = True
    middle = Dataset()
    middle.PurposeOfReferenceCodeSequence = Sequence([inner])
    middle["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    middle.is_undefined_length_sequence_item = True
    dataset.SourceImageSequence = Sequence([middle, middle])
    dataset["SourceImageSequence"].is_undefined_length = True
    data = encoded(dataset, transfer_syntax)
    assert identify(memoryview(data), transfer_syntax).series_uid == dataset.SeriesInstanceUID
    assert fault(data[:-1], transfer_syntax).code == "truncated"


@given(cut=st.integers(min_value=1, max_value=511))
@settings(max_examples=60)
def test_an_object_that_ends_within_its_pixels_is_truncated(cut: int) -> None:
    error = fault(encoded(mr_slice())[:-cut])
    assert error.code == "truncated"
    assert str(error) == f"the object ends within (7FE0,0010): 512 bytes announced, {512 - cut} received"


@given(place=st.floats(min_value=0, max_value=1))
@settings(max_examples=100)
def test_an_encapsulated_object_cut_within_its_pixels_is_never_taken_for_a_whole_one(place: float) -> None:
    file = get_testdata_file("MR_small_jp2klossless.dcm")
    assert isinstance(file, str)
    whole = data_set_bytes(Path(file))
    identify(memoryview(whole), J2K)
    first = whole.index(b"\xe0\x7f\x10\x00") + 4
    last = whole.rindex(b"\xfe\xff\xdd\xe0") + 7  # one byte short of the end of the delimiter
    assert fault(whole[: first + int(place * (last - first))], J2K).code == "truncated"


@given(data=st.binary(max_size=600), implicit=st.booleans())
@settings(max_examples=300)
def test_random_bytes_are_refused_and_never_more_than_refused(data: bytes, implicit: bool) -> None:
    fault(data, IMPLICIT if implicit else EXPLICIT)


@given(position=st.integers(min_value=0, max_value=799), value=st.integers(min_value=0, max_value=255))
@settings(max_examples=300)
def test_a_flipped_byte_leads_to_an_identity_or_a_refusal(position: int, value: int) -> None:
    data = bytearray(encoded(mr_slice(sop_uid="1.2.3", study_uid="1.2.4", series_uid="1.2.5")))
    data[position % len(data)] = value
    try:
        identity = identify(memoryview(bytes(data)), EXPLICIT)
    except UnreadableError:
        return
    assert is_uid(identity.sop_uid) and is_uid(identity.study_uid)


@pytest.mark.parametrize(
    ("keyword", "name"),
    [
        ("SOPInstanceUID", "SOP Instance UID"),
        ("StudyInstanceUID", "Study Instance UID"),
        ("SeriesInstanceUID", "Series Instance UID"),
        ("SOPClassUID", "SOP Class UID"),
    ],
)
def test_an_object_without_one_of_its_uids_is_refused_by_name(keyword: str, name: str) -> None:
    dataset = mr_slice()
    delattr(dataset, keyword)
    error = fault(encoded(dataset))
    assert error.code == "missing_uid"
    assert str(error) == f"the object has no {name}"


def test_a_uid_that_is_a_path_is_refused() -> None:
    data = encoded(mr_slice(study_uid="1.2.3.4.5.6.7.8")).replace(b"1.2.3.4.5.6.7.8", b"../../etc/passw")
    assert fault(data).code == "invalid_uid"


def test_nothing_at_all_is_called_empty() -> None:
    assert fault(b"").code == "empty"


def test_text_is_not_dicom() -> None:
    assert fault(b"GET / HTTP/1.0\r\nHost: pacs\r\n\r\n").code == "not_dicom"


def test_sequences_nested_without_end_are_refused() -> None:
    bomb = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    assert fault(bomb).code == "not_dicom"


def test_the_patient_is_told_by_name_and_birth_where_there_is_no_identifier() -> None:
    one, two = mr_slice(patient_id=""), mr_slice(patient_id="")
    two.PatientName = "Other^Patient"
    found = [identify(memoryview(encoded(dataset)), EXPLICIT).patient for dataset in (one, one, two)]
    assert found[0] == found[1] != found[2]


def test_what_can_be_read_of_a_truncated_object_is_given() -> None:
    dataset = mr_slice()
    found = peek(memoryview(encoded(dataset)[:-10]), EXPLICIT)
    assert found == {"study_uid": dataset.StudyInstanceUID, "sop_uid": dataset.SOPInstanceUID}
