"""The report in a browser: it reads right, its plots are drawn, mouse and keyboard work.

Needs the extra `browser` and a Chromium: python -m pytest -m browser.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import browser
from sweep import analysis, report
from tests.test_report import make, many

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000  # five megabytes of script on a busy machine
CURVES = "#plot-loss .scatterlayer .trace"
RAW_SHOWN = "document.getElementById('plot-loss').data.some(t => t.meta === 'raw' && t.visible === true)"
HIGHEST_SCROLLBAR = (
    "Math.max(...[...document.querySelectorAll('.legend .scrollbar')].map(one => one.getBoundingClientRect().height))"
)
LOWEST_PLOT = (
    "Math.min(...[...document.querySelectorAll('.plot .nsewdrag')].map(one => one.getBoundingClientRect().height))"
)


@pytest.fixture
def chromium() -> Iterator["Browser"]:
    with browser.chromium() as found:
        yield found


class Watched:
    """A page that notes what it asks for, and what goes wrong in it."""

    def __init__(self, browser: "Browser", **options: Any) -> None:
        self.requests: set[str] = set()
        self.problems: list[str] = []
        self.page = browser.new_page(**options)
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", lambda request: self.requests.add(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._said)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning", "assert"):
            self.problems.append(message.text)

    def open(self, address: str) -> "Page":
        """Loads the report and waits until its plots are drawn."""
        self.page.goto(address)
        self.page.wait_for_function("document.body.dataset.drawn === 'true'")
        return self.page


def test_the_page_works_in_a_browser(tmp_path: Path, chromium: "Browser") -> None:
    store = make(tmp_path, configurations=3, seeds=3, steps=300)
    assert report.main([store.location]) == 0
    address = (Path(store.location) / "report.html").as_uri()
    picked = analysis.answer(analysis.load(store.location)).recommendation
    assert picked
    images, watched = set(), []
    for width, height in ((390, 844), (1440, 900)):
        for scheme in ("light", "dark"):
            viewport = {"width": width, "height": height}
            one = Watched(chromium, viewport=viewport, is_mobile=width < 600, color_scheme=scheme)
            watched.append(one)
            page = one.open(address)
            _reads_right(page, picked.label, picked.text)
            _draws(page, width)
            images.add(page.screenshot(full_page=True))
    _works_by_mouse(page)
    _works_by_keyboard(one.open(address))
    assert [one.problems for one in watched] == [[]] * 4
    assert [one.requests for one in watched] == [{address}] * 4
    assert len(images) == 4  # the sizes and the schemes really look different


def test_many_learning_rates_can_be_read_on_a_phone(tmp_path: Path, chromium: "Browser") -> None:
    """Of thirty configurations: no legend reaches out of its picture or needs scrolling, nor is anything wider than the window."""
    store = many(tmp_path, tuned_axis=False)
    assert report.main([store.location]) == 0
    watched = Watched(chromium, viewport={"width": 390, "height": 844}, is_mobile=True)
    page = watched.open((Path(store.location) / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("[data-figure] .legend").count() >= 5
    assert page.evaluate(HIGHEST_SCROLLBAR) == 0
    assert page.evaluate(LOWEST_PLOT) >= 100
    assert watched.problems == []


def _reads_right(page: "Page", pick: str, text: str) -> None:
    assert pick in page.inner_text("#answer-title")
    assert page.inner_text("#recommendation").replace("\N{NO-BREAK SPACE}", " ") == text
    assert pick in page.inner_text("tr.picked")


def _draws(page: "Page", width: int) -> None:
    """Every plot has marks, and nothing is wider than the window."""
    drawn = [plot.locator(".trace, .point").count() for plot in page.locator("[data-figure]").all()]
    assert len(drawn) == 6
    assert all(drawn)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def _works_by_mouse(page: "Page") -> None:
    """The legend hides a curve, the button shows the raw ones and hides them again, every plot can be hovered over."""
    before = page.locator(CURVES).count()
    page.locator("#plot-loss .legendtoggle").first.click()
    page.wait_for_function(f"n => document.querySelectorAll('{CURVES}').length < n", arg=before)
    assert not page.evaluate(RAW_SHOWN)
    page.locator("[data-raw]").click()
    page.wait_for_function(RAW_SHOWN)
    for plot in page.locator("[data-figure]").all():
        plot.evaluate("plot => Plotly.Fx.hover(plot, [{curveNumber: 0, pointNumber: 0}])")
    page.locator("[data-raw]").click()
    page.wait_for_function(f"!{RAW_SHOWN}")


def _works_by_keyboard(page: "Page") -> None:
    """The tab key reaches the answer's link, the sections, the table and the button; the space key presses it."""
    met = []
    for _ in range(12):
        page.keyboard.press("Tab")
        met.append(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
        if page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    assert "A" in met and "scroll" in met and met[-1] == "BUTTON"
    page.keyboard.press("Space")
    page.wait_for_function(RAW_SHOWN)
    assert page.locator("[data-raw]").get_attribute("aria-pressed") == "true"
