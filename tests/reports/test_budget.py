"""The table of the budget says what of it is extrapolated, and goes into the report."""

from dataclasses import replace

from reports.budget import ResourceRow, table
from reports.html import page
from tests.reports.example import summary

ROWS = (
    ResourceRow("w4a4", "LUT", 500, 1000, "lanes 512, sampled 2 to 32 (state)"),
    ResourceRow("w4a4", "URAM", 0, 0),
)


def test_a_row_has_its_share_and_what_is_extrapolated():
    lut, uram = table(ROWS).records()
    assert (lut["share"], uram["share"]) == (0.5, None)
    assert lut["outside"] == "lanes 512, sampled 2 to 32 (state)"
    assert "sampled 2 to 32 (state)" in table(ROWS).text()


def test_the_report_prints_it():
    text = page(replace(summary(), budget=ROWS))
    assert "What the design takes" in text
    assert "lanes 512, sampled 2 to 32 (state)" in text
    assert "What the design takes" not in page(summary())
