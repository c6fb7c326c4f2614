"""The page as a reader meets it: in headless Chromium, wide and narrow, light and dark."""

import re
from html.parser import HTMLParser

import pytest

from reports.html import page
from reports.summary import Summary
from tests.browser import Browser, View, needs_chromium
from tests.reports.example import RECIPES, summary

# WCAG 2.1 success criterion 1.4.3: text has a contrast of at least 4.5 to what is behind it.
CONTRAST = """
(() => {
  const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (text) => {
    probe.clearRect(0, 0, 1, 1); probe.fillStyle = text; probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
    return [255, 255, 255, 255];
  };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    const unseen = !e.getClientRects().length || e.closest("script");
    if (unseen || !walk.currentNode.data.trim()) continue;
    const style = getComputedStyle(e);
    const ink = rgba(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(e))].sort((p, q) => q - p);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${walk.currentNode.data.trim().slice(0, 40)}`);
  }
  return bad;
})()
"""


@pytest.fixture(scope="module")
def browser():
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page(summary()), encoding="utf-8")
    return file


class References(HTMLParser):
    """Collects what a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in {"src", "srcset", "data", "action"} or (name == "href" and value[0] != "#"):
                self.found.append((tag, name, value))


def test_nothing_is_fetched_from_elsewhere():
    text = page(summary())
    parser = References()
    parser.feed(text)
    assert parser.found == []
    assert not re.search(r"@import|url\(|https?://", text)


def test_the_page_is_small():
    """A copy of a plotting library alone would be 1 MB."""
    assert len(page(summary()).encode()) < 300_000


def test_names_from_outside_are_escaped():
    text = page(Summary("<script>alert(1)</script>", "<b>", "cosim '<i>'", "0"))
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert "<i>" not in text


def test_what_was_not_asked_has_no_section():
    text = page(Summary("m", "", "cosim walk m", "0", accuracy=summary().accuracy))
    assert re.findall(r'<section id="(\w+)"', text) == ["accuracy", "sources"]


def test_coverage_comes_first():
    assert re.findall(r'<section id="(\w+)"', page(summary()))[0] == "coverage"


def test_a_difference_is_shown_with_its_place():
    text = page(summary("first difference at step/layers.0.in_q[3, 7]: 5 against 6"))
    assert "layers.0.in_q[3, 7]: 5 against 6" in text
    assert "Every compared integer is equal" not in text


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_legible(browser, path, width, dark):
    opened = browser.open(path, View(width=width, dark=dark))
    opened.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert opened.errors == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.evaluate(CONTRAST) == []
    smallest = opened.evaluate(
        "Math.min(...[...document.querySelectorAll('td, p, li, .tick, .origin, .label')]"
        ".filter(e => e.getClientRects().length)"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12
    shown = opened.evaluate(
        "[...document.querySelectorAll('svg.roofline, svg.timeline')]"
        ".filter(e => e.getClientRects().length)"
        ".map(e => [e.getBoundingClientRect().width, Number(e.getAttribute('width'))])"
    )
    assert len(shown) == 3  # by operator, by unit, over time: each wide or narrow, not both
    for seen, drawn in shown:
        assert seen <= width
        assert seen == pytest.approx(drawn, rel=0.05), "scaled text is not legible"


@needs_chromium
def test_dark_and_light_differ(browser, path):
    colours = [
        browser.open(path, View(dark=dark)).evaluate("getComputedStyle(document.body).background")
        for dark in (False, True)
    ]
    assert colours[0] != colours[1]


@needs_chromium
def test_the_page_answers(browser, path):
    opened = browser.open(path)
    shown = (
        "[...document.querySelectorAll('[data-recipe]')].filter(e => !e.hidden)"
        ".map(e => e.dataset.recipe)"
    )
    assert opened.evaluate(shown) == [RECIPES[0]]
    opened.evaluate("document.querySelector('.choice input[value=\"w4a4\"]').click()")
    assert opened.evaluate(shown) == ["w4a4"]

    opened.evaluate("document.querySelector('[data-recipe=w4a4] .point').focus()")
    tip = opened.evaluate("document.getElementById('tip').textContent")
    assert tip.startswith("layers.*.norm (rms_norm, 4 nodes): ")
    is_hidden = "document.getElementById('tip').hidden"
    assert opened.evaluate(is_hidden) is False
    scrolls = "dispatchEvent(new Event('scroll'))"  # as bringing the point into view does, later
    opened.evaluate(scrolls)
    assert opened.evaluate(is_hidden) is False
    opened.evaluate("document.activeElement.blur()")
    assert opened.evaluate(is_hidden) is True

    column = (
        "[...document.querySelectorAll('#t-accuracy tbody tr')].map(r => r.cells[0].textContent)"
    )
    opened.evaluate("document.querySelectorAll('#t-accuracy th button')[1].click()")
    assert opened.evaluate(column) == ["w4a4-rtn", "w4a4", "w4a8", "w8a8", "float"]
    opened.evaluate("document.querySelectorAll('#t-accuracy th button')[1].click()")
    assert opened.evaluate(column) == ["float", "w8a8", "w4a8", "w4a4", "w4a4-rtn"]

    opened.evaluate(
        "(() => { const box = document.querySelector('input[type=search]');"
        " box.value = 'w8a8 decay'; box.dispatchEvent(new Event('input')); })()"
    )
    rows = opened.evaluate(
        "[...document.querySelectorAll('#t-operators_by_cost tbody tr')].filter(r => !r.hidden)"
        ".map(r => r.cells[1].textContent)"
    )
    assert rows == ["layers.*.state"]
    assert opened.errors == []


@needs_chromium
def test_without_scripts_all_recipes_are_there(browser, path, tmp_path):
    bare = tmp_path / "bare.html"
    bare.write_text(re.sub(r"<script>.*?</script>", "", path.read_text(), flags=re.DOTALL))
    shown = browser.open(bare).evaluate(
        "[...document.querySelectorAll('[data-recipe]')].filter(e => e.getClientRects().length)"
        ".length"
    )
    assert shown == len(RECIPES)
