"""Print published accelerators beside the model: given, derived, modelled, and what is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

from hw_models.validate.own import AIM_PERCENT, Own
from hw_models.validate.row import Row
from reports.html_page import fill_page
from reports.html_parts import table_html
from reports.table import Cell, Column, Table

VERDICTS = (
    "within, missed: of the aim; fitted: a factor was chosen to meet this figure, so that it "
    "proves nothing; compared: no aim was set"
)


@dataclass(frozen=True)
class ArrayRow:
    """Hold the cycles of one product on one array: closed form, beat by beat, SCALE-Sim's."""

    array: str
    stays: str
    product: str
    closed_cycles: int
    network_cycles: int
    scalesim_cycles: int
    busy_percent: float


@dataclass(frozen=True)
class Validation:
    """Hold what `cosim validate` found; parts that were not asked for are empty."""

    version: str
    rows: tuple[Row, ...] = ()
    left_out: tuple[tuple[str, str, str], ...] = ()
    arrays: tuple[ArrayRow, ...] = ()
    designs: tuple[Own, ...] = ()

    def tables(self) -> tuple[Table, ...]:
        """Return all tables that have rows."""
        made = (
            figures_table(self.rows), basis_table(self.rows), left_out_table(self.left_out),
            designs_table(self.designs), arrays_table(self.arrays),
        )  # fmt: skip
        return tuple(t for t in made if t.rows)

    def text(self) -> str:
        """Print the tables; what the figures rest on as notes, since it is long."""
        shown = []
        for table in self.tables():
            notes = table.name == "validation_basis"
            shown.append(f"{table.title}\n{notes_text(self.rows)}" if notes else table.text())
        return "\n".join(shown)

    def to_json(self) -> dict[str, object]:
        """Return the tables with their origins, as `summary.json` has them."""
        return {
            "schema": 1,
            "version": self.version,
            "tables": {
                t.name: {
                    "title": t.title,
                    "origins": {c.key: c.origin for c in t.columns if c.origin},
                    "rows": t.records(),
                }
                for t in self.tables()
            },
        }


def figures_table(rows: Sequence[Row]) -> Table:
    """Print a row per published figure; errors in percent, of shares in points."""
    columns = (
        Column("design", "design"),
        Column("figure", "figure"),
        Column("given", "given", "given"),
        Column("derived", "derived", "derived"),
        Column("modelled", "modelled", "modelled"),
        Column("error", "error, %", "modelled", "+z.1f"),
        Column("aim", "aim"),
        Column("verdict", "verdict"),
        Column("note", "note"),
    )
    notes = note_numbers(rows)
    cells = tuple(
        (
            r.design, f"{r.figure}, {r.unit}", r.given, r.derived, r.modelled, r.error,
            r.aim.text() if r.aim else "", r.verdict, f"[{notes[basis_of(r)]}]",
        )
        for r in rows
    )  # fmt: skip
    return Table("validation", "Published accelerators and the model", columns, cells, VERDICTS)


Basis = tuple[str, str, str, str]


def basis_of(row: Row) -> Basis:
    """Return source, rule, what the modelled figure rests on, and what is unknown."""
    return row.source, row.rule, row.rests_on, row.unknown


def note_numbers(rows: Sequence[Row]) -> dict[Basis, int]:
    """Number the different bases from 1, in order of first use."""
    return {basis: k for k, basis in enumerate(dict.fromkeys(map(basis_of, rows)), 1)}


def notes_text(rows: Sequence[Row]) -> str:
    """Print the bases as numbered notes of at most 100 columns."""
    lines = []
    for (source, rule, rests_on, unknown), number in note_numbers(rows).items():
        parts = (("given", source), ("derived", rule), ("model", rests_on), ("unknown", unknown))
        told = ". ".join(f"{what}: {text}" for what, text in parts if text)
        lead = f"  [{number}] "
        lines.append(fill(told, 100, initial_indent=lead, subsequent_indent=" " * len(lead)))
    return "\n".join(lines) + "\n" if lines else ""


def basis_table(rows: Sequence[Row]) -> Table:
    """Print what each figure rests on, and what its publication does not say."""
    columns = (
        Column("note", "note"),
        Column("source", "given by"),
        Column("rule", "derived is"),
        Column("rests_on", "the model has"),
        Column("unknown", "unknown"),
    )
    cells = tuple((f"[{number}]", *basis) for basis, number in note_numbers(rows).items())
    return Table("validation_basis", "What each figure rests on", columns, cells)


def left_out_table(left_out: Sequence[tuple[str, str, str]]) -> Table:
    """Print what was published and not modelled, and why."""
    columns = (
        Column("design", "design"), Column("published", "published"), Column("missing", "missing"),
    )  # fmt: skip
    return Table("validation_left_out", "Published, but not modelled", columns, tuple(left_out))


def designs_table(designs: Sequence[Own]) -> Table:
    """Print a row per design of our mapper, under the bound of its memory."""
    names = tuple(designs[0].resources) if designs else ()
    columns = (
        Column("machine", "machine"),
        Column("model", "model"),
        Column("found_by", "found by"),
        Column("tokens_per_s", "tokens/s", "modelled"),
        Column("bound_tokens_per_s", "memory's bound", "derived"),
        Column("share_percent", "of the bound, %", "modelled", ".1f"),
        *(Column(name, name.upper(), "modelled") for name in names),
        Column("binds", "what binds"),
        Column("waits", "what waits"),
    )
    cells: tuple[tuple[Cell, ...], ...] = tuple(
        (
            d.machine, d.model, d.found_by, d.tokens_per_s, d.bound_tokens_per_s, d.share_percent,
            *d.resources.values(), d.binds, d.waits,
        )
        for d in designs
    )  # fmt: skip
    note = f"aim: {AIM_PERCENT:g} % of the bound; resources are estimates before synthesis"
    return Table("validation_designs", "Designs of our mapper", columns, cells, note)


def arrays_table(arrays: Sequence[ArrayRow]) -> Table:
    """Print a row per array: what stays, and the cycles in three ways of counting."""
    columns = (
        Column("array", "array"),
        Column("stays", "stays"),
        Column("product", "M x K x N"),
        Column("closed_cycles", "closed form, cycles", "derived"),
        Column("network_cycles", "beat by beat, cycles", "modelled"),
        Column("scalesim_cycles", "SCALE-Sim 3.0.0, cycles", "derived"),
        Column("apart", "SCALE-Sim apart, cycles", "derived"),
        Column("busy_percent", "busy, %", "derived", ".1f"),
    )
    cells = tuple(
        (
            a.array, a.stays, a.product, a.closed_cycles, a.network_cycles, a.scalesim_cycles,
            a.scalesim_cycles - a.closed_cycles, a.busy_percent,
        )
        for a in arrays
    )  # fmt: skip
    note = (
        "SCALE-Sim's code does not count the cycles that shift stationary outputs out "
        "(scale-sim-v3 issue 4); its column is its closed form, which equals its runs"
    )
    return Table("validation_arrays", "Systolic arrays", columns, cells, note)


def section_html(found: Validation) -> str:
    """Return the tables as a section of a page."""
    return "\n".join(table_html(t) for t in found.tables())


def page_html(found: Validation, command: str) -> str:
    """Return a self-contained page of the validation alone."""
    title = "Published accelerators and the model"
    header = (
        f"<h1>{title}</h1>\n"
        '<p class="soft">Every figure is marked with its origin; what is not known is a dash.</p>'
    )
    sections = [(t.name, t.title, table_html(t)) for t in found.tables()]
    return fill_page(title, header, sections, found.version, command)
