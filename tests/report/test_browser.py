"""The page in a real browser: no complaint, no request, nothing off the side, all of it by keyboard."""

from __future__ import annotations

import pytest

from squeeze import pipeline
from squeeze.progress import Silent
from squeeze.report.evidence import gather
from squeeze.report.page import to_html
from tests import finished_run
from tests.report.chromium import Browser, find

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (apt install chromium)")
SCREENS = [(390, False), (390, True), (1280, False), (1280, True)]
LEAST_LETTERS = 9  # CSS pixels of the letters in a drawing, as they are shown
FOCUS = "a[href], summary, [tabindex='0']"
SCALE = (
    "Math.min(...[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width / 360)) * 11"
)
BACK = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
WHERE = "[...document.querySelectorAll(\"a[href], summary, [tabindex='0']\")].indexOf(document.activeElement)"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    runs = [finished_run.make(folder / "one"), finished_run.make(folder / "two", until="bench")]
    found = [gather(run.name, pipeline.open_stages(run), Silent()) for run in runs]
    target = folder / "page.html"
    target.write_text(to_html(found), encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def browser():
    assert PROGRAM is not None
    with Browser(PROGRAM) as browser:
        yield browser


@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_it_shows_without_complaint_request_or_overflow(width, dark, browser, page, tmp_path):
    tab = browser.open(page, width=width, dark=dark)
    assert tab.complaints() == []
    assert [url for url in tab.requests() if not url.startswith("data:")] == [page.as_uri()]
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value(SCALE) >= LEAST_LETTERS
    assert (sum(tab.value(BACK)) < 3 * 100) == dark
    target = tmp_path / "page.png"
    tab.screenshot(target)
    assert target.stat().st_size > 20_000
    tab.close()


def test_everything_can_be_reached_and_opened_by_keyboard(browser, page):
    tab = browser.open(page, width=1280)
    count = tab.value(f'document.querySelectorAll("{FOCUS}").length')
    # what lies in a closed <details> is reached once that is open
    hidden = tab.value(f'[...document.querySelectorAll("details:not([open]) :is({FOCUS})")].length')
    hidden -= tab.value('document.querySelectorAll("details:not([open]) > summary").length')
    seen = []
    for _ in range(count - hidden):
        tab.press("Tab")
        seen.append(tab.value(WHERE))
    assert seen == sorted(set(seen))
    assert len(seen) == count - hidden
    assert -1 not in seen
    tab.value('document.querySelector("details:not([open]) > summary").focus()')
    opened = tab.value('document.querySelectorAll("details[open]").length')
    tab.press("Enter")
    assert tab.value('document.querySelectorAll("details[open]").length') == opened + 1
    assert tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.close()
