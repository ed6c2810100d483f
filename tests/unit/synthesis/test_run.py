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
from medk2n_node.errors import ConfigError
from medk2n_node.store import Store
from medk2n_node.synthesis import Job, Product, Refused, Target, run
from medk2n_node.synthesis.ladder import OutOfMemory, Rung, climb_down, ran_out, resolve_precision, rungs
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


def out_of_memory(kind: str) -> BaseException:
    """Memory that runs out as each allocator says it."""
    import torch

    return {
        "python": MemoryError(),
        "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
        "itk": RuntimeError("itk::ERROR: Failed to allocate memory for image."),
    }[kind]


@pytest.mark.parametrize("kind", ["python", "torch", "cpu", "itk"])
def test_memory_that_runs_out_is_answered_with_smaller_batches(job: Job, store: Store, kind: str) -> None:
    tried: list[int] = []

    def hungry(*arguments: Any, **options: Any) -> model.Outputs:
        tried.append(options["batch_slices"])
        if options["batch_slices"] > 2:
            raise out_of_memory(kind)
        return fake_synthesize(*arguments, **options)

    assert make(job, store, hungry).objects
    assert tried == [8, 4, 2]


def test_memory_that_never_suffices_ends_in_words_and_not_in_a_lost_study(job: Job, store: Store) -> None:
    def hungry(*arguments: Any, **options: Any) -> model.Outputs:
        raise MemoryError

    with pytest.raises(OutOfMemory, match="not even one slice at a time on cpu in fp32") as caught:
        make(job, store, hungry)
    assert "tried again" in caught.value.cure


def test_another_error_is_no_reason_to_try_less(job: Job, store: Store) -> None:
    tried: list[int] = []

    def wrong(*arguments: Any, **options: Any) -> model.Outputs:
        tried.append(options["batch_slices"])
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        make(job, store, wrong)
    assert tried == [8]


def test_a_gpu_gives_up_batch_then_precision_and_then_the_study_goes_on_on_the_cpu() -> None:
    ways = rungs("cuda", 4, has_bf16=True)
    assert [(way.device, way.precision, way.batch_slices) for way in ways] == [
        ("cuda", "fp32", 4), ("cuda", "fp32", 2), ("cuda", "fp32", 1), ("cuda", "bf16", 1),
        ("cpu", "fp32", 4), ("cpu", "fp32", 2), ("cpu", "fp32", 1),
    ]  # fmt: skip
    assert [way.precision for way in rungs("cuda", 2, "bf16", has_bf16=True)] == ["bf16"] * 2 + ["fp32"] * 2
    assert [way.batch_slices for way in rungs("cpu", 1)] == [1]
    tried: list[Rung] = []

    def full(rung: Rung) -> str:
        tried.append(rung)
        if rung.device == "cuda":
            raise out_of_memory("torch")
        return "made"

    assert climb_down(full, ways) == "made"
    assert tried == ways[:5]


def test_only_what_says_so_is_a_lack_of_memory() -> None:
    assert all(ran_out(out_of_memory(kind)) for kind in ("python", "torch", "cpu", "itk"))
    assert not ran_out(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_bf16_is_refused_in_words_where_the_processor_computes() -> None:
    assert resolve_precision("auto", "cpu") == "fp32"
    with pytest.raises(ConfigError, match="needs a CUDA device that computes in it; this is cpu"):
        resolve_precision("bf16", "cpu")
