"""From files to files: what a job makes, what it refuses, and that a second run writes the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from pydicom import dcmread

import model
from dicom_rules.derive import Maker
from medk2n_node.demo.study import ScannedSeries, write_study
from medk2n_node.store import Store
from medk2n_node.synthesis import Job, Product, Refused, Target, run
from medk2n_node.synthesis.ladder import rungs
from tests.unit.synthesis.fakes import FakeBundle, fake_synthesize

MAKER = Maker(
    node_version="1",
    model_name="fake",
    model_version="1",
    model_digest="ab" * 32,
    ae_title="MEDK2N",
    station="here",
)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """FLAIR of T1 and T2: ten slices of noise on two grids."""
    random = np.random.default_rng(1)
    series = []
    for contrast, shift in (("T1", 0.0), ("T2", 2.0)):
        affine = np.diag([1.0, 1.0, 5.0, 1.0])
        affine[0, 3] = shift
        series.append(
            ScannedSeries(
                contrast=contrast, array=random.integers(1, 4000, (10, 32, 24), np.uint16), affine=affine
            )
        )
    written = write_study(tmp_path / "study", *series)
    return Job(
        study_uid=written.study_uid,
        revision=1,
        made_at=datetime(2025, 3, 1, 12, tzinfo=UTC),
        reference="T1",
        targets=(
            Target(
                contrast="FLAIR",
                sources=("T1", "T2"),
                key="T1",
                reasons=("FLAIR is missing.",),
                series_number=9003,
            ),
        ),
        series=written.files,
    )


def make(job: Job, store: Store, synthesize: Any = fake_synthesize) -> Product:
    return run(
        job,
        write=store.write_result,
        bundle=cast("model.Bundle", FakeBundle()),
        maker=MAKER,
        device="cpu",
        synthesize=synthesize,
    )


def test_a_job_writes_one_object_for_each_slice_of_the_reference(job: Job, store: Store) -> None:
    product = make(job, store)
    objects = [dcmread(store.root / one.path) for one in product.objects]
    reference = [dcmread(path) for path in job.series["T1"]]
    assert [one.ImagePositionPatient for one in objects] == [one.ImagePositionPatient for one in reference]
    assert {one.SeriesNumber for one in objects} == {9003}
    assert [str(one.SOPInstanceUID) for one in objects] == [one.sop_uid for one in product.objects]
    kept = [hashlib.sha256((store.root / one.path).read_bytes()).hexdigest() for one in product.objects]
    assert kept == [one.sha256 for one in product.objects]
    expected = np.rint(reference[4].pixel_array / max(one.pixel_array.max() for one in reference) * 1000)
    assert np.array_equal(objects[4].pixel_array, expected)


def test_a_second_run_gives_the_same_uids_and_the_same_bytes(job: Job, store: Store) -> None:
    assert make(job, store).objects == make(job, store).objects


def test_another_revision_gives_other_uids(job: Job, store: Store) -> None:
    first, second = make(job, store), make(replace(job, revision=2), store)
    assert not {one.sop_uid for one in first.objects} & {one.sop_uid for one in second.objects}


def test_the_seconds_of_every_stage_are_kept(job: Job, store: Store) -> None:
    assert set(make(job, store).seconds) == {"read", "register", "network", "encode", "write"}


def test_a_gap_in_a_source_refuses_the_job_and_names_the_series(job: Job, store: Store) -> None:
    files: Mapping[str, tuple[Path, ...]] = {**job.series, "T2": job.series["T2"][:4] + job.series["T2"][6:]}
    with pytest.raises(Refused, match="the T2 series: ") as caught:
        make(replace(job, series=files), store)
    assert caught.value.code == "gap"


def test_a_reason_of_the_model_refuses_the_job_in_its_words(job: Job, store: Store) -> None:
    def no_brain(*arguments: object, **options: object) -> model.Outputs:
        raise model.ImagingError(
            code="not_a_brain", subject="reference T1", reason="no brain was found", cure="Send a head"
        )

    with pytest.raises(Refused) as caught:
        make(job, store, no_brain)
    assert (caught.value.code, str(caught.value)) == (
        "not_a_brain",
        "reference T1: no brain was found. Send a head",
    )


def test_a_model_that_abstains_from_every_target_refuses_the_job_with_its_reasons(
    job: Job, store: Store
) -> None:
    def abstaining(*arguments: Any, **options: Any) -> model.Outputs:
        outputs = fake_synthesize(*arguments, **options)
        result = replace(
            outputs.targets["FLAIR"], abstained=True, reasons=("The expected error is too large.",)
        )
        return replace(outputs, targets={"FLAIR": result})

    with pytest.raises(Refused, match=r"The expected error is too large\.") as caught:
        make(job, store, abstaining)
    assert caught.value.code == "abstained"


def test_a_source_that_was_not_aligned_is_no_source_of_the_result_and_is_noted(
    job: Job, store: Store
) -> None:
    def dropping(*arguments: Any, **options: Any) -> model.Outputs:
        outputs = fake_synthesize(*arguments, **options)
        return replace(outputs, dropped={"T2": "T2 was not used. It lies too far away."})

    product = make(job, store, dropping)
    assert product.notes == ("T2 was not used. It lies too far away.",)
    made = dcmread(store.root / product.objects[0].path)
    t2 = {str(dcmread(path).SOPInstanceUID) for path in job.series["T2"]}
    assert not t2 & {str(item.ReferencedSOPInstanceUID) for item in made.SourceImageSequence}


def test_memory_that_runs_out_is_answered_with_smaller_batches(job: Job, store: Store) -> None:
    tried: list[int] = []

    def hungry(*arguments: Any, **options: Any) -> model.Outputs:
        tried.append(options["batch_slices"])
        if options["batch_slices"] > 2:
            raise MemoryError
        return fake_synthesize(*arguments, **options)

    assert make(job, store, hungry).objects
    assert tried == [8, 4, 2]


def test_the_last_rung_of_the_ladder_is_one_slice_on_the_cpu() -> None:
    assert rungs("cuda", 4) == [("cuda", 4), ("cuda", 2), ("cuda", 1), ("cpu", 4), ("cpu", 2), ("cpu", 1)]
    assert rungs("cpu", 1) == [("cpu", 1)]
