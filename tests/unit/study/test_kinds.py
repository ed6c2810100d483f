"""Which objects are made, and which destination gets which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import model
from medk2n_node.config import Config
from medk2n_node.delivery import outbox
from medk2n_node.delivery.scu import Outgoing, send
from medk2n_node.delivery.send import address, backoff_rules
from medk2n_node.delivery.statuses import Answer, Response, decline
from medk2n_node.demo.study import ScannedSeries, write_study
from medk2n_node.store import Store
from medk2n_node.store.tables import Delivery, ResultInstance
from medk2n_node.study.context import Context
from medk2n_node.study.delivery_step import close_delivery
from medk2n_node.study.kinds import addressed, forms
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.study.synthesis_step import synthesize_revision
from medk2n_node.synthesis import MadeObject
from tests.integration.receiver import Receiver
from tests.unit.study.bench import Ward
from tests.unit.synthesis.fakes import FakeBundle, fake_synthesize

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def destination(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "ae_title": name.upper(), "host": "127.0.0.1", "port": 104, **changes}


def made(kind: str, contrast: str = "FLAIR") -> MadeObject:
    return MadeObject(
        sop_uid=kind, sop_class="1.2", series_uid="1", contrast=contrast, kind=kind, path="p", sha256="s"
    )


def config(*destinations: dict[str, Any], **results: Any) -> Config:
    return Config.model_validate({"destinations": destinations, "results": results})


def test_by_default_the_series_its_uncertainty_and_a_report_are_made_and_go_everywhere() -> None:
    plain = config(destination("pacs"))
    assert forms(plain).uncertainty and plain.results.report
    assert not (
        forms(plain).overlay or forms(plain).watermark or forms(plain).summary or forms(plain).enhanced
    )
    every = [made("series"), made("uncertainty"), made("report", "")]
    assert addressed(plain, every) == {"pacs": ["series", "uncertainty", "report"]}


def test_send_limits_what_a_destination_gets() -> None:
    some = config(
        destination("a", send=["series"]), destination("b", send=["report"]), destination("c", send=[])
    )
    every = [made("series"), made("uncertainty"), made("report", ""), made("overlay")]
    assert addressed(some, every) == {"a": ["series"], "b": ["report"]}


def test_each_destination_gets_one_form_of_the_series() -> None:
    both = config(destination("old"), destination("new", enhanced=True))
    assert (forms(both).classic, forms(both).enhanced) == (True, True)
    every = [made("series"), made("enhanced"), made("report", "")]
    assert addressed(both, every) == {"old": ["series", "report"], "new": ["enhanced", "report"]}
    # Sources that are not enhanced give the classic form alone, and everybody gets that.
    assert addressed(both, [made("series")]) == {"old": ["series"], "new": ["series"]}
    assert not forms(config(destination("new", enhanced=True))).classic


@pytest.fixture
def ward(store: Store, node_config: Config, tmp_path: Path) -> Iterator[Ward]:
    pixels = np.random.default_rng(1).integers(1, 4000, (2, 12, 40, 40)).astype(np.uint16)
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    study = write_study(
        tmp_path / "study",
        *(
            ScannedSeries(contrast=name, array=array, affine=affine)
            for name, array in zip(("T1", "T2"), pixels, strict=True)
        ),
    )
    context = Context(
        config=node_config,
        store=store,
        bundle=lambda: cast("model.Bundle", FakeBundle()),
        synthesize=fake_synthesize,
    )
    one = Ward(context, study.study_uid)
    one.receive(*study.files["T1"], *study.files["T2"])
    yield one


def test_everything_that_is_switched_on_is_made_and_nothing_that_is_switched_off(ward: Ward) -> None:
    every = ward.configured(results={"overlay": True, "summary": True, "watermark": True})
    assert every.run() == "DELIVERED"
    kinds = [(one["kind"], one["instances"]) for one in every.show()["results"]]
    assert kinds == [("series", 12), ("uncertainty", 1), ("overlay", 1), ("summary", 1), ("report", 1)]
    assert every.results("series")[0][1].BurnedInAnnotation == "YES"
    numbers = [int(every.results(kind)[0][1].SeriesNumber) for kind, _ in kinds]
    assert len(set(numbers)) == len(numbers)


def test_a_site_can_do_without_uncertainty_and_report(ward: Ward) -> None:
    bare = ward.configured(results={"uncertainty": False, "report": False})
    assert bare.run() == "DELIVERED"
    assert [one["kind"] for one in bare.show()["results"]] == ["series"]


def test_reports_on_nothing_made_can_be_switched_off_alone(ward: Ward) -> None:
    def fruit(*arguments: Any, **options: Any) -> model.Outputs:
        raise model.ImagingError(
            code="not_a_brain", subject="T1", reason="this is a fruit", cure="Send a head"
        )

    quiet = ward.configured(results={"report_when_nothing_made": False})
    quiet.context = replace(quiet.context, synthesize=fruit)
    assert quiet.run() == "REFUSED"
    assert quiet.show()["results"] == []


def test_a_refusal_after_the_plan_is_reported_with_its_reason(ward: Ward) -> None:
    def fruit(*arguments: Any, **options: Any) -> model.Outputs:
        raise model.ImagingError(
            code="not_a_brain", subject="T1", reason="this is a fruit", cure="Send a head"
        )

    ward.context = replace(ward.context, synthesize=fruit)
    assert ward.run() == "REFUSED"
    told = ward.told(1)
    assert told[0] == "Nothing was synthesised: refused: T1: this is a fruit"
    assert told[1] == "Send a head"
    assert any(sentence.startswith("FLAIR: refused.") for sentence in told)


def test_an_abstention_is_reported_with_the_figures_that_led_to_it(ward: Ward) -> None:
    def abstaining(*arguments: Any, **options: Any) -> model.Outputs:
        outputs = fake_synthesize(*arguments, **options)
        result = replace(
            outputs.targets["FLAIR"], abstained=True, reasons=("The expected error is too large.",)
        )
        return replace(outputs, targets={"FLAIR": result})

    ward.context = replace(ward.context, synthesize=abstaining)
    assert ward.run() == "REFUSED"
    ((_, report),) = ward.results("report")
    told = ward.told(1)
    assert any(
        sentence.startswith("FLAIR: not made: the model abstained from T1, T2") for sentence in told
    ), told
    names = [item.ConceptNameCodeSequence[0].CodeMeaning for item in report.ContentSequence]
    group = report.ContentSequence[names.index("Imaging Measurements")].ContentSequence[0]
    numbers = {
        item.ConceptNameCodeSequence[0].CodeMeaning
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    }
    assert "Expected mean absolute error" in numbers
    assert "Mean half-width of the 90 % interval" not in numbers


def offer(classes: list[str], objects: list[Outgoing], base: Config) -> list[tuple[str, Response]]:
    said: list[tuple[str, Response]] = []
    with Receiver(classes=classes) as pacs:
        where = Config.model_validate(
            {**base.model_dump(), "destinations": [destination("pacs", port=pacs.port)]}
        )
        send(
            address(where, where.destinations[0]),
            objects,
            lambda one, answer: said.append((one.sop_class, answer)),
        )
    return said


def outgoing(ward: Ward) -> list[Outgoing]:
    with ward.store.reading() as session:
        return [
            Outgoing(
                sop_uid=row.sop_uid,
                sop_class=row.sop_class,
                path=ward.store.root / row.path,
                sha256=row.sha256,
                needed=row.kind == "series",
            )
            for row in session.query(ResultInstance).order_by(
                ResultInstance.kind.desc(), ResultInstance.sop_uid
            )
        ]


def test_an_archive_that_takes_mr_alone_gets_the_series_and_declines_the_rest(ward: Ward) -> None:
    ward.run()
    said = offer([MR_IMAGE], outgoing(ward), ward.context.config)
    assert [answer.answer for sop_class, answer in said if sop_class == MR_IMAGE] == [Answer.ACCEPTED] * 12
    rest = {answer.words for sop_class, answer in said if sop_class != MR_IMAGE}
    assert rest == {
        "the peer takes no Parametric Map Storage",
        "the peer takes no Comprehensive 3D SR Storage",
    }


def test_an_archive_without_reports_declines_a_report_that_comes_alone(ward: Ward) -> None:
    ward.run()
    report = [one for one in outgoing(ward) if one.sop_class == "1.2.840.10008.5.1.4.1.1.88.34"]
    ((_, answer),) = offer([MR_IMAGE], report, ward.context.config)
    assert (answer.answer, answer.status) == (Answer.DECLINED, "declined")


def test_what_a_destination_declined_does_not_fail_the_study(ward: Ward) -> None:
    sent = ward.configured()
    sent.context = replace(
        sent.context,
        config=Config.model_validate(
            {**sent.context.config.model_dump(), "destinations": [destination("pacs")]}
        ),
    )
    revision = sent.settle()
    plan_revision(sent.context, revision)
    synthesize_revision(sent.context, revision)
    with sent.store.session() as session:
        rows = session.query(Delivery, ResultInstance).join(
            ResultInstance, ResultInstance.sop_uid == Delivery.sop_uid
        )
        for row, result in rows:
            if result.kind != "series":
                outbox.record(
                    session,
                    row.sop_uid,
                    "pacs",
                    decline(result.sop_class),
                    now=sent.store.clock(),
                    rules=backoff_rules(sent.context.config),
                    chance=0.5,
                )
    sent.accept(revision)
    assert close_delivery(sent.context, revision) == "DELIVERED"
    document = sent.show()
    assert document["words"] == (
        "12 deliveries were accepted; 2 beside the series found no use (the destination takes no such object)"
    )
    (delivery,) = document["deliveries"]
    assert (delivery["done"], delivery["declined"], delivery["dead"]) == (12, 2, 0)
