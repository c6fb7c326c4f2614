"""The browser helper sees what a reader sees: width, colour scheme, script errors, pixels."""

from pathlib import Path

import pytest
from matplotlib import image

from tests.browser import Browser, View, dump_dom, needs_chromium, screenshot

pytestmark = needs_chromium

PAGE = """<!doctype html><meta charset="utf-8"><title>t</title>
<style>body { margin: 0; background: #ffffff } @media (prefers-color-scheme: dark) {
body { background: #102030 } } div { width: 700px; height: 10px }</style>
<div></div><p id="said"></p><script>document.getElementById("said").textContent = 6 * 7</script>
"""


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def html(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text(PAGE)
    return path


@pytest.mark.parametrize("width", [360, 1280])
def test_width_is_the_window_asked_for(browser: Browser, html: Path, width: int):
    page = browser.open(html, View(width=width))
    assert page.evaluate("window.innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") == max(width, 700)


@pytest.mark.parametrize(
    ("dark", "colour"), [(False, "rgb(255, 255, 255)"), (True, "rgb(16, 32, 48)")]
)
def test_dark_reaches_the_style_sheet(browser: Browser, html: Path, dark: bool, colour: str):
    page = browser.open(html, View(dark=dark))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colour


def test_a_clean_page_has_no_errors(browser: Browser, html: Path):
    assert browser.open(html).errors == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("throw new Error('lost')", "lost"),
        ("console.error('seen', 3)", "seen 3"),
        ("document.write('<img src=missing.png>')", "missing.png"),
    ],
)
def test_errors_of_a_page_are_kept(browser: Browser, tmp_path: Path, script: str, said: str):
    path = tmp_path / "bad.html"
    path.write_text(f"<!doctype html><script>{script}</script>")
    assert said in " ".join(browser.open(path).errors)


def test_evaluate_refuses_a_script_that_throws(browser: Browser, html: Path):
    with pytest.raises(AssertionError, match="the page threw"):
        browser.open(html).evaluate("nowhere.near")


def test_dom_is_taken_after_scripts_ran(html: Path):
    assert '<p id="said">42</p>' in dump_dom(html)


def test_screenshot_has_the_pixels_of_the_page(html: Path, tmp_path: Path):
    screenshot(html, tmp_path / "a.png", width=360, dark=True)
    pixels = image.imread(tmp_path / "a.png")
    assert pixels.shape[1] >= 360
    assert [round(255 * c) for c in pixels[-1, 0, :3]] == [0x10, 0x20, 0x30]
