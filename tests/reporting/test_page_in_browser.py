"""The pages in a real browser: pictures load, tables sort, audio plays from a place, nothing is fetched.

Skipped without Chromium (Debian: ``apt-get install chromium``) or the package playwright, which drives it.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from imlkd.reporting.page.compare import compare_experiments
from tests.reporting.conftest import Run

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
WIDTHS = {"desktop": 1280, "phone": 390}
SEEK = """(one) => { one.started = new Promise((done) => {
  one.addEventListener("seeked", () => done(one.currentTime), {once: true});
}); }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright, of requirements-dev.txt")
    with playwright.sync_playwright() as driver:
        # --no-sandbox: Chromium's own does not work for root; the pages are ours
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        started = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


class Opened:
    """A page with all that it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page = browser.new_page(**options)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.address = path.as_uri()
        self.page.goto(self.address)

    def close(self) -> None:
        """It has complained of nothing, and asked for nothing but itself."""
        assert self.complaints == []
        assert {url for url in self.requests if not url.startswith("data:")} == {self.address}
        self.page.close()


@pytest.fixture
def opened(browser: Any, run: Run) -> Iterator[Opened]:
    found = Opened(browser, run.page("toy_kd"), viewport={"width": WIDTHS["desktop"], "height": 900})
    yield found
    found.close()


def test_pictures_and_audio_load(opened: Opened) -> None:
    widths = opened.page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == 20 and min(widths) > 100
    measure = "[...document.querySelectorAll('svg')].map((one) => one.getBoundingClientRect().width)"
    charts = opened.page.evaluate(measure)
    assert len(charts) == 7 and min(charts) > 200
    opened.page.wait_for_function("[...document.querySelectorAll('audio')].every((one) => one.readyState > 0)")
    seconds = opened.page.evaluate("[...document.querySelectorAll('audio')].map((one) => one.duration)")
    assert len(seconds) == 20 and all(1.2 < length < 2.1 for length in seconds)


def column(opened: Opened, name: str) -> list[str]:
    table = opened.page.locator("#results table").first
    heads = [text.replace("\xa0", " ") for text in table.locator("th button").all_inner_texts()]
    index = heads.index(name)
    return [row.locator("td").nth(index).inner_text() for row in table.locator("tbody tr").all()]


def test_tables_sort_on_a_click(opened: Opened) -> None:
    head = opened.page.locator("#results th button", has_text="EER [95 %]")
    before = column(opened, "EER [95 %]")
    values = sorted(before, key=lambda text: float(text.split()[0]))
    head.click()
    assert column(opened, "EER [95 %]") == values
    assert head.locator("..").get_attribute("aria-sort") == "ascending"
    head.click()
    assert column(opened, "EER [95 %]") == values[::-1]
    opened.page.locator("#results th button", has_text="model").click()
    assert column(opened, "model") == ["toy_kd", "toy_none", "toy_teacher"]
    for _ in range(2):  # a cell without a number stays behind, whichever way
        opened.page.locator("#results th button", has_text="p (Holm)").click()
        assert column(opened, "p (Holm)")[-1] == ""


def test_a_click_into_a_picture_plays_from_there(opened: Opened) -> None:
    player = opened.page.locator(".player").nth(1)
    picture, sound = player.locator("img.spectrogram"), player.locator("audio")
    opened.page.wait_for_function("document.querySelectorAll('.player audio')[1].readyState > 1")
    box = picture.bounding_box()
    assert box is not None
    sound.evaluate(SEEK)
    picture.click(position={"x": box["width"] * 0.5, "y": 5})
    place = sound.evaluate("(one) => one.started")
    seconds = float(player.get_attribute("data-seconds") or 0)
    assert place == pytest.approx(seconds / 2, abs=0.1)
    assert player.locator(".cursor").is_visible()
    first = opened.page.locator(".player audio").first
    first.evaluate("(one) => one.play()")
    opened.page.wait_for_function("document.querySelectorAll('.player audio')[1].paused")


def test_an_id_is_no_script(opened: Opened) -> None:
    assert opened.page.evaluate("window.heard") is None
    assert opened.page.locator("h3", has_text="<script>window.heard=1</script>").count() == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_it_fits_the_screen(width: int, scheme: str, browser: Any, run: Run) -> None:
    opened = Opened(browser, run.page("toy_kd"), viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    pixels = imread(io.BytesIO(opened.page.screenshot(full_page=True)))[..., :3]
    ground = pixels[3, 3].mean()
    assert (ground > 0.9) == (scheme == "light") and (ground < 0.2) == (scheme == "dark")
    assert pixels.shape[1] == width and len(np.unique(pixels.reshape(-1, 3)[::97], axis=0)) > 50
    ink = opened.page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert (sum(map(int, ink[4:-1].split(","))) < 384) == (scheme == "light")
    opened.close()


def test_it_prints(browser: Any, run: Run) -> None:
    opened = Opened(browser, run.page("toy_kd"), color_scheme="dark")
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not opened.page.locator("audio").first.is_visible() and opened.page.locator("img").first.is_visible()
    assert opened.page.pdf(format="A4").startswith(b"%PDF")
    opened.close()


def test_two_experiments(browser: Any, run: Run, tmp_path: Path) -> None:
    compare_experiments(run.models[1], run.models[2], run.data, 20, tmp_path / "both.html")
    opened = Opened(browser, tmp_path / "both.html", viewport={"width": WIDTHS["phone"], "height": 800})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"]
    opened.page.locator("th button").nth(2).click()
    assert opened.page.locator("th").nth(2).get_attribute("aria-sort") == "ascending"
    assert opened.page.locator("svg").bounding_box() is not None
    opened.close()
