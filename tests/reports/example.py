"""One run with invented numbers of plausible size, for tests of what is drawn from it."""

from reports.accuracy import Accuracy
from reports.baseline import BaselineRow
from reports.coverage import Coverage, OperatorRow
from reports.energy import Constant, EnergyPart, Rule
from reports.exactness import Exactness
from reports.latency import Speed, UnitUse
from reports.lints import LintRow, StepRow
from reports.published import PublishedRow
from reports.resources import Resources
from reports.roofline import Ceilings, OperatorCost
from reports.storage import StorageRow
from reports.summary import RecipeCosts, Sample, Summary
from reports.synthesis import SynthesisRow
from reports.timeline import Stall, TaskSpan
from reports.wires import WiresCheck
from reports.wires_units import UnitCheck

RECIPES = ("w8a8", "w4a8", "w4a4", "w4a4-rtn")
EXCESS = {"w8a8": 0.0012, "w4a8": 0.0068, "w4a4": 0.0214, "w4a4-rtn": 0.1537}
# node, operator, unit, MACs, other operations, bytes from memory at 4 bits, cycles
BLOCK = (
    ("norm", "rms_norm", "norm", 0, 600, 0, 40),
    ("in_proj", "linear", "matrix", 140_000, 0, 70_000, 900),
    ("conv", "fir", "fir", 2_560, 0, 0, 60),
    ("x", "pwl", "vector", 0, 2_600, 0, 50),
    ("dt", "pwl_log", "vector", 0, 160, 0, 20),
    ("state", "decay_update", "state", 49_152, 24_576, 0, 410),
    ("y", "contract", "state", 24_576, 0, 0, 400),
    ("rotate", "hadamard", "hadamard", 0, 3_456, 0, 60),
    ("out_proj", "linear", "matrix", 73_728, 0, 36_864, 480),
)


def costs(width: int) -> tuple[OperatorCost, ...]:
    """Return the costs of four equal layers and a head, weights of so many bits."""
    nodes = []
    for layer in range(4):
        for node, op, unit, macs, others, of_memory, cycles in BLOCK:
            moved = of_memory * width / 4
            nodes.append(
                OperatorCost(
                    segment="step",
                    node=f"layers.{layer}.{node}",
                    op=op,
                    unit=unit,
                    task="layers.*.state" if unit == "state" else f"layers.*.{node}",
                    cycles=cycles * width // 4 if moved else cycles,
                    macs=macs,
                    operations=2 * macs + others,
                    bytes_moved=moved + 0.6 * macs / 10 + others,
                    bytes_offchip=moved,
                    energy_pj=0.2 * macs + 0.05 * others + 20.0 * moved,
                    bound="memory" if moved else "compute",
                )
            )
    moved = 49_152 * width / 8
    head = OperatorCost(
        "step",
        "head",
        "linear",
        "matrix",
        "head",
        70 * width,
        49_152,
        98_304,
        moved + 400,
        moved,
        20.0 * moved,
        "memory",
    )
    return (*nodes, head)


DESIGN = "u280: 8 x 8, state 8, chains 8, weights on chip"


def wires_check(prompt: str, first: str | None) -> WiresCheck:
    """Return a comparison of a whole accelerator; `first` is the sentence of a difference."""
    wrong = 3 if first and prompt == "import " else 0
    return WiresCheck(
        "w4a4", DESIGN, prompt, "verilog", "Verilator 5.48.0", 69, 17_733, wrong, 2_277, wrong,
        1_123_000, 16_271.0, 1.7, 3.2, 3.1, first if wrong else None,
    )  # fmt: skip


def unit_check(unit: str, first: str | None) -> UnitCheck:
    """Return a comparison of a unit alone; `first` is the sentence of a difference in matrix."""
    wrong = 1 if first and unit == "matrix" else 0
    return UnitCheck(
        "w4a4", DESIGN, unit, unit, "8", "verilog", "Verilator 5.48.0", 3, 2, 26_784, wrong, 3_360,
        0, 96_023, 15.2, 0.23, first if wrong else None,
    )  # fmt: skip


def synthesis_row(unit: str) -> SynthesisRow:
    """Return what a unit takes."""
    size = 1000 * len(unit)
    return SynthesisRow(unit, unit, "8", size, size // 2, len(unit), 0.5, 1, 9, 4.2)


def summary(
    first: str | None = None, wires_first: str | None = None, unit_first: str | None = None
) -> Summary:
    """Return a whole run; `first` is the sentence of a difference in the last recipe."""
    widths = {r: int(r[1]) for r in RECIPES}
    all_costs = {r: costs(w) for r, w in widths.items()}
    token = {
        r: float(sum(c.cycles for c in k if c.unit == "matrix") + 400) for r, k in all_costs.items()
    }
    units = ("norm", "matrix", "fir", "vector", "state", "hadamard")
    return Summary(
        model="mamba2-py-1m",
        machine="u280",
        command="cosim walk mamba2-py-1m --machine u280 -o run",
        version="0.1.0",
        accuracy=(
            Accuracy("float", 65_536, bits_per_token=1.6021, seconds=4.0),
            *(
                Accuracy(r, 65_536, bits_per_token=1.6021 * (1 + e), kl_bits=e * 1.5, seconds=3.0)
                for r, e in EXCESS.items()
            ),
        ),
        exactness=tuple(
            Exactness(
                r,
                "reference",
                "torch",
                311,
                512,
                41_000_000,
                3 if first and r == RECIPES[-1] else 0,
                first if r == RECIPES[-1] else None,
                9.0,
                1.2,
            )
            for r in RECIPES
        ),
        wires=tuple(wires_check(prompt, wires_first) for prompt in ("def ", "import ")),
        wire_units=tuple(unit_check(u, unit_first) for u in units),
        resources=(
            Resources("w4a4", DESIGN, "xcup", "Yosys 0.70", tuple(map(synthesis_row, units))),
        ),
        stale=2,
        coverage=tuple(Coverage(r, 311, 1.0, 1_209_000, 1.0, 910_000, 1.0) for r in RECIPES),
        operators=(
            OperatorRow("linear", 9, "matrix", False),
            OperatorRow("decay_update", 4, "state", False),
            OperatorRow("reshape", 12, None, False),
        ),
        speeds=tuple(
            Speed(
                r,
                "u280",
                token[r],
                int(token[r] * 1.6),
                300e6 / token[r] * (1.1 if "rtn" in r else 1.0),
                sum(c.energy_pj for c in all_costs[r]),
                "memory bandwidth",
            )
            for r in RECIPES
        ),
        units=tuple(
            UnitUse(
                r,
                u,
                u,
                b := sum(c.cycles for c in all_costs[r] if c.unit == u),
                token[r] - b - 100,
                60,
                token[r],
            )
            for r in RECIPES
            for u in units
        ),
        spans=tuple(
            TaskSpan(r, "step", u, f"layers.*.{u}", turn, turn * 1000 + 150 * k, at)
            for r in RECIPES
            for turn in range(3)
            for k, u in enumerate(units)
            for at in [turn * 1000 + 150 * k + 300]
        ),
        stalls=tuple(
            Stall(r, "matrix", cause, fifo, other, 40.0, token[r])
            for r in RECIPES
            for cause, fifo, other in (("input", "norm -> in_proj", "norm"), ("room", "x", "fir"))
        ),
        storage=tuple(StorageRow(r, "weights", "memory", 9e5, 9e5, 0.0) for r in RECIPES),
        gpus=tuple(BaselineRow(r, "a GPU", 9e5, 1e6, 3e-4, "bandwidth, watts") for r in RECIPES),
        published=tuple(
            PublishedRow(r, "A board <W4A4>", "speed, tokens/s", 7.0, 7.7, 10.0, "this", "a paper")
            for r in RECIPES
        ),
        costs=tuple(
            RecipeCosts(
                r,
                Ceilings(300e6, 6.1e11, 3.9e11, "1,024 MACs at 300 MHz", "HBM, 391 GB/s"),
                k,
                "design of mamba2\nmatrix: 64 lanes\n",
            )
            for r, k in all_costs.items()
        ),
        energy=tuple(
            EnergyPart(r, part, share * sum(c.energy_pj for c in all_costs[r]))
            for r in RECIPES
            for part, share in (
                ("mac 4x4", 0.06),
                ("mac 8x8", 0.04),
                ("add", 0.03),
                ("shift", 0.02),
                ("lookup", 0.03),
                ("on chip", 0.2),
                ("off chip", 0.5),
                ("static", 0.12),
            )
        ),
        machine_constants=(
            Constant("clock", 300.0, "MHz", "given", "board guide, table 2"),
            Constant("HBM bandwidth", 460.0, "GB/s", "given", "data sheet, page 4"),
        ),
        energy_constants=(
            Constant("MAC 8x8", 0.23, "pJ", "measured", "a survey, table 1", "16 nm, 0.85 V"),
            Constant("HBM bit", 3.9, "pJ", "assumed", "a paper, section 3", "16 nm, 0.85 V"),
        ),
        energy_rules=(Rule("mac.AxB", "mul.AxB + add", "derived", "arithmetic"),),
        notes=("power of the FPGA package",),
        steps=tuple(
            StepRow(r, name, keeps, None if keeps else 0.0123, 1.5)
            for r in RECIPES
            for name, keeps in (("fold norms", True), ("rotate", True), ("weights", False))
        ),
        lints=(
            LintRow(
                "w8a8",
                "state ceiling",
                "layers.2.ssm",
                0.2,
                0.99,
                False,
                "the state reached 20.0% of its ceiling; worst heads 1 (20.0%), 0 (5.0%)",
                (0.05, 0.2, 0.03),
            ),
            LintRow(
                "w4a4-rtn",
                "saturation",
                "layers.2.in_q",
                0.031,
                0.01,
                True,
                "3.1 % of the values of layers.2.in_q saturate; widen its scale or rotate.",
            ),
        ),
        samples=(Sample("w4a4", "def ", "parse(<text>):\n    return text & 1\n"),),
        hashes=(("w8a8", "5f2c" * 16),),
    )
