"""What a person sees: results in a PACS, rendered by it, and scrolled beside their source in a browser's viewer."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset
from scipy import ndimage

from dicom_rules.derive import Maker, SyntheticVolume, encode, to_part10
from dicom_rules.geometry import to_volume
from tests import peers
from tests.integration import phantom
from tests.integration.sending import deliver

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.peer, pytest.mark.slow]

Picture = npt.NDArray[np.float32]

VIEWER = Path(__file__).resolve().parents[1] / "viewer"
LABEL = "SYNTHETIC FLAIR (AI) - not acquired"
MAKER = Maker(
    node_version="1", model_name="model", model_version="1", model_digest="ab" * 32, ae_title="MEDK2N"
)


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """A PACS that holds a T1 series and a FLAIR series made on its grid; the ids are the PACS's own."""

    pacs: peers.Orthanc
    source: list[Dataset]
    synthetic: list[Dataset]
    encoded: Callable[..., list[Dataset]]
    source_id: str
    synthetic_id: str
    study_id: str


@pytest.fixture(scope="module")
def shelf(study: phantom.Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """The phantom's own FLAIR stands for what a network made, so that the pictures look as they should."""
    if not (VIEWER / "node_modules" / "@niivue" / "niivue").is_dir():
        peers.missing("NiiVue is not installed (make test installs it with npm)")
    folder = tmp_path_factory.mktemp("viewer")
    source = study["T1"]
    reference = to_volume(source)
    result = SyntheticVolume(
        target="FLAIR", array=to_volume(study["FLAIR"]).array.astype(np.uint16), scale=1100.0,
        window=(600.0, 1200.0), sources=("T1",), key="T1", reference="T1", contributions={"T1": 1.0},
        resampled=(), reasons=(),
    )  # fmt: skip

    def encoded(*, watermark: bool) -> list[Dataset]:
        return encode(
            replace(result, watermark=watermark), reference=reference, reference_headers=source,
            source_series={"T1": source}, maker=MAKER, revision=1, series_number=9003,
            made_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        )  # fmt: skip

    synthetic = encoded(watermark=False)
    with peers.orthanc(folder / "orthanc", web=True, pages={"/viewer": VIEWER}) as pacs:
        where = {"host": pacs.host, "port": pacs.port, "called_ae": pacs.ae_title}
        assert deliver(folder / "objects", [*source, *synthetic], **where) == []
        series = {one["MainDicomTags"]["SeriesDescription"]: one for one in pacs.series()}
        mine, theirs = series[LABEL], series["T1 SE AX"]
        yield Shelf(
            pacs=pacs, source=source, synthetic=synthetic, source_id=theirs["ID"], synthetic_id=mine["ID"],
            study_id=mine["ParentStudy"], encoded=encoded,
        )  # fmt: skip


def read_png(content: bytes) -> Picture:
    """A PNG as grey values from 0 to 1."""
    from matplotlib.image import imread

    image = np.asarray(imread(BytesIO(content), format="png"), dtype=np.float32)
    return image if image.ndim == 2 else image[..., :3].mean(axis=2)


def alike(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """The correlation of two pictures."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def fetch(url: str, accept: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
        return content


def test_the_preview_of_the_pacs_shows_every_synthetic_slice(shelf: Shelf) -> None:
    found = {
        shelf.pacs.get(f"/instances/{one}/simplified-tags")["SOPInstanceUID"]: one
        for one in shelf.pacs.get(f"/series/{shelf.synthetic_id}")["Instances"]
    }
    for one in shelf.synthetic:
        content = fetch(f"{shelf.pacs.url}/instances/{found[one.SOPInstanceUID]}/preview", "image/png")
        shown = read_png(content)
        assert shown.shape == (one.Rows, one.Columns)
        assert alike(shown, one.pixel_array) > 0.99


def rendered(shelf: Shelf, one: Dataset) -> bytes:
    """The PNG that DICOMweb gives of an object in the window that it states."""
    url = (
        f"{shelf.pacs.url}/dicom-web/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}"
        f"/instances/{one.SOPInstanceUID}/frames/1/rendered"
    )
    return fetch(f"{url}?window={one.WindowCenter},{one.WindowWidth},linear", "image/png")


def test_dicomweb_renders_frames_in_the_window_that_the_object_states(shelf: Shelf) -> None:
    for one in shelf.synthetic[::4]:
        shown = read_png(rendered(shelf, one))
        low = float(one.WindowCenter) - float(one.WindowWidth) / 2
        windowed = np.clip((one.pixel_array - low) / float(one.WindowWidth), 0, 1)
        assert shown.std() > 0.1, "a blank picture"
        assert np.abs(shown - windowed).max() < 0.02


def test_the_burned_in_word_is_seen_in_the_picture_and_nowhere_but_in_its_corner(
    shelf: Shelf, tmp_path: Path
) -> None:
    """For viewers that show neither descriptions nor overlays; the pixels elsewhere stay as they are."""
    marked = shelf.encoded(watermark=True)[10]
    request = urllib.request.Request(f"{shelf.pacs.url}/instances", data=to_part10(marked), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["Status"] == "Success"
    picture = rendered(shelf, marked)
    (tmp_path / "watermark.png").write_bytes(picture)
    shown = read_png(picture)
    plain = shelf.synthetic[10].pixel_array
    assert marked.BurnedInAnnotation == "YES"
    changed = marked.pixel_array != plain
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows.max() < 0.15 * marked.Rows
    assert columns.max() < 0.4 * marked.Columns
    word = shown[: rows.max() + 1, : columns.max() + 1]
    assert 0.1 < (word > 0.9).mean() < 0.6, "the letters are not white on black"
    assert np.array_equal(marked.pixel_array[rows.max() + 1 :], plain[rows.max() + 1 :])


def test_a_query_by_dicomweb_tells_the_synthetic_series_from_the_acquired_one(shelf: Shelf) -> None:
    url = f"{shelf.pacs.url}/dicom-web/studies/{shelf.source[0].StudyInstanceUID}/series"
    listed = json.loads(fetch(url, "application/dicom+json"))
    described = {one["0008103E"]["Value"][0] for one in listed}
    assert described == {"T1 SE AX", LABEL}
    metadata = json.loads(
        fetch(f"{url}/{shelf.synthetic[0].SeriesInstanceUID}/metadata", "application/dicom+json")
    )
    assert {one["0008001C"]["Value"][0] for one in metadata} == {"YES"}
    assert {"\\".join(one["00080008"]["Value"]) for one in metadata} == {
        "DERIVED\\SECONDARY\\OTHER\\SYNTHETIC"
    }


@pytest.fixture(scope="module")
def page(shelf: Shelf) -> Iterator[Page]:
    """NiiVue with the source on the left and the synthetic series on the right."""
    with peers.chromium() as browser:
        opened = browser.new_context(viewport={"width": 920, "height": 500}).new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        address = f"{shelf.pacs.url}/viewer/index.html?left={shelf.source_id}&right={shelf.synthetic_id}"
        opened.goto(address)
        opened.wait_for_function("window.proof?.ready || window.proof?.error", timeout=60_000)
        assert opened.evaluate("proof.error") is None
        assert faults == []
        yield opened


def places(page: Page) -> tuple[list[float], list[float]]:
    left, right = page.evaluate("[proof.place('left'), proof.place('right')]")
    return left, right


def scroll(page: Page, side: str) -> None:
    """One notch of the wheel over a view, and wait until both views have moved."""
    before = places(page)
    box = page.locator(f"#{side}").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, 100)
    page.wait_for_function(
        "([left, right]) => Math.abs(proof.place('left')[2] - left) > 1"
        " && Math.abs(proof.place('right')[2] - right) > 1",
        arg=[before[0][2], before[1][2]],
    )


def view(page: Page, side: str) -> Picture:
    """What a view shows, less its frame and the letters at its edges."""
    shown = read_png(page.locator(f"#{side}").screenshot())
    return shown[24:-24, 24:-24]


def outline(picture: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """The head without regard to what is dark inside it, which differs from contrast to contrast."""
    filled: npt.NDArray[np.bool_] = ndimage.binary_fill_holes(picture > 0.15)
    return filled


def test_the_viewer_reads_both_series_on_one_grid(page: Page) -> None:
    left, right = page.evaluate("[proof.grid('left'), proof.grid('right')]")
    assert left["dims"] == right["dims"] == [192, 224, 20]
    assert np.abs(np.subtract(left["affine"], right["affine"])).max() < 1e-3


def test_the_label_synthetic_stands_above_the_synthetic_series_and_there_alone(page: Page) -> None:
    assert page.locator("#right-label").is_visible()
    assert page.locator("#right-label").inner_text() == LABEL
    assert page.locator("#left-label").inner_text() == "T1 SE AX"
    assert read_png(page.locator("#right-label").screenshot()).max() > 0.5, "the words are not drawn"


def test_source_and_synthetic_scroll_together_and_show_the_same_slice(
    page: Page, shelf: Shelf, tmp_path: Path
) -> None:
    normal = np.cross(*np.array(shelf.source[0].ImageOrientationPatient, dtype=float).reshape(2, 3))
    origin = np.array(shelf.source[0].ImagePositionPatient, dtype=float)
    spacing = float(shelf.source[0].SpacingBetweenSlices)
    seen: list[tuple[int, float, float]] = []
    before: tuple[Picture, Picture] | None = None
    for step in range(6):
        scroll(page, "left" if step % 2 else "right")  # whichever the mouse is over leads
        left, right = places(page)
        assert np.abs(np.subtract(left, right)).max() < 0.05  # mm
        # NIfTI counts to the right and to the front, DICOM to the left and to the back.
        index = round(float((np.array(left) * [-1, -1, 1] - origin) @ normal) / spacing)
        page.screenshot(path=tmp_path / f"slice-{index:02d}.png")
        now = view(page, "left"), view(page, "right")
        for shown in now:
            assert shown.std() > 0.1, "a blank view"
        if before is not None:
            assert alike(now[0], before[0]) < 0.98, "the source did not scroll"
            assert alike(now[1], before[1]) < 0.98, "the synthetic series did not scroll"
        before = now
        heads = [outline(shown) for shown in now]
        overlap = np.logical_and(*heads).sum() / np.logical_or(*heads).sum()
        assert overlap > 0.9, f"slice {index}: the heads of the two views do not lie on each other"
        stored = shelf.source[index].pixel_array
        seen.append((index, float(heads[0].sum()), float(outline(stored / np.percentile(stored, 99)).sum())))
    assert [index for index, _, _ in seen] == list(range(seen[0][0], seen[0][0] + 6))
    # The picture of a slice is as large as the slice that the PACS holds at that place: one scale for all.
    scale = np.array([shown / held for _, shown, held in seen])
    assert scale.max() / scale.min() < 1.06


def test_the_list_of_the_pacs_names_the_series_synthetic(page: Page, shelf: Shelf, tmp_path: Path) -> None:
    listing = page.context.new_page()
    listing.goto(f"{shelf.pacs.url}/app/explorer.html#study?uuid={shelf.study_id}")
    listing.get_by_text(LABEL).first.wait_for(state="visible", timeout=20_000)
    listing.screenshot(path=tmp_path / "list.png")
    assert listing.get_by_text("T1 SE AX").first.is_visible()
