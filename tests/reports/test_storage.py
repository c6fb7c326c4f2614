"""Tables of what is kept and of GPUs beside a design show every number with its origin."""

from reports import baseline, published, storage
from reports.baseline import BaselineRow
from reports.html import page
from reports.published import PublishedRow
from reports.storage import StorageRow
from tests.reports.example import summary


def test_storage_shows_whole_bytes_and_the_place_in_words():
    rows = [StorageRow("w4a4", "weights", "memory", 1234567.0, 1000.0, 0.0),
            StorageRow("w4a4", "windows", "chip", 8.0, 6.0, 2.0)]  # fmt: skip
    text = storage.table(rows).text()
    assert "off chip" in text
    assert "on chip" in text
    assert "1,234,567" in text
    assert storage.table(rows).records()[1]["written_bytes"] == 2.0


def test_gpus_show_their_bound_and_what_it_rests_on():
    row = BaselineRow("w4a4", "rtx4090", 1.5e9, 672.0, 0.424, "batch 1")
    (record,) = baseline.table([row]).records()
    assert record["tokens_per_s"] == 672.0
    text = baseline.table([row]).text()
    assert "at most" in text
    assert "batch 1" in text


def test_published_figures_show_given_and_modelled_numbers_and_stand_on_the_page():
    row = PublishedRow("w4a4", "A board", "speed, tokens/s", 7.21, 6.803, -5.645, "this run", "p")
    table = published.table([row], "a note")
    assert [c.origin for c in table.columns if c.origin] == ["given", "modelled", "modelled"]
    lines = table.text().splitlines()
    assert "7.21     6.803      -5.6" in lines[3]
    assert lines[-1] == "  a note"
    html = page(summary())
    assert 'id="t-published"' in html
    assert "A board &lt;W4A4&gt;" in html
    assert published.table(()).rows == ()
