"""Make the rows of the table of proofs: operators by name, chains unit by unit."""

import time
from collections.abc import Iterator

from tests.rtl.chain_proofs import ChainProof
from tests.rtl.op_wiring import check, prove_op
from tests.rtl.proofs import SMALL, at_recipe_widths
from tests.rtl.recipe_cases import cases

# Why an operator is not proved at the recipes' widths, and what is done instead.
WHY = {
    "argmax": "many numbers compared in two orders",
    "contract": "sums of products in another order",
    "embed": "a table of 256 words, drawn",
    "fir": "sums of products in another order",
    "group_read": "sums behind shifts that differ",
    "group_scale": "the largest of a group's magnitudes, in two orders",
    "group_shift": "the largest of a group's magnitudes, in two orders",
    "hadamard": "sums of 12 and more terms, in two orders",
    "linear": "sums of products in another order",
    "mul_shift": "a product shifted by up to 33 places, in one node of LightMamba's graph",
    "pwl": "a deep table with a product behind: every input is run in the chains",
    "pwl_log": "a deep table with a product behind: every input is run in the chains",
    "rms_norm": "a root of a sum of squares",
    "rms_table": "a root of a sum of squares",
    "shift_decay": "a product shifted by up to 33 places",
    "shift_fir": "sums of products in another order",
    "step_table": "deep tables",
}
SAMPLES = 40


def heading(*columns: str) -> None:
    """Print the heading of a table."""
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def operator_rows() -> Iterator[tuple[str, bool]]:
    """Prove each operator: at the recipes' widths, else small and sampled at those widths."""
    wide = at_recipe_widths()
    for name in sorted({c[1].name for c in wide}):
        own = [c[1:] for c in wide if c[1].name == name]
        yield _proved(name, "recipes' widths", own)
    for name in sorted({c[0].name for c in SMALL}):
        yield _proved(name, "small", [c for c in SMALL if c[0].name == name])
    proved = {c[0] for c in wide}
    left = [c for c in cases() if c[0] not in proved]
    for name in sorted({c[1].name for c in left}):
        own = [c[1:] for c in left if c[1].name == name]
        started = time.monotonic()
        for op, types, fixed in own:
            check(op, types, fixed, count=SAMPLES)
        seconds = time.monotonic() - started
        how = f"sampled, {SAMPLES} each, corners among them: {WHY[name]}"
        yield f"| `{name}` | recipes' widths | {how} | {len(own)} | {seconds:.1f} |", True


def _proved(name: str, where: str, own: list) -> tuple[str, bool]:
    verdicts, seconds, widest = [], 0.0, []
    for op, types, fixed in own:
        proof = prove_op(op, types, fixed, limit_s=120)
        verdicts.append(proof.verdict)
        seconds += proof.seconds
        widest.append(max(t.dtype.bits for k, t in enumerate(types) if k not in fixed))
    how = ", ".join(sorted(set(verdicts)))
    of = f"{where}, operands of up to {max(widest)} bits"
    holds = set(verdicts) == {"proved"}
    return f"| `{name}` | {of} | {how} | {len(own)} | {seconds:.1f} |", holds


def chain_row(recipe: str, unit: str, plan) -> tuple[str, bool]:
    """Prove a chain; return its row, and whether it holds."""
    started = time.monotonic()
    names = [plan.folded.skeleton.sketch.node(n).op.name for n in plan.jobs[0].task.nodes]
    try:
        steps = ChainProof(plan).run()
    except AssertionError as error:
        how, holds, places, kinds = f"**refuted**: {error}", False, 0, 0
    else:
        how, holds = _how(steps), True
        places, kinds = sum(s.places for s in steps), sum(s.kinds for s in steps)
    seconds = time.monotonic() - started
    row = f"| `{unit}` | `{recipe}` | {', '.join(names)} | {how} | {places:,} | {kinds} "
    return f"{row}| {seconds:.1f} |", holds


def _how(steps) -> str:
    parts = []
    if any(s.how == "proved" for s in steps):
        parts.append("proved")
    for s in steps:
        name = s.node.rsplit(".", 1)[-1]
        if s.how == "exhausted":
            parts.append(f"`{name}` exhausted")
        if s.how == "sampled":
            parts.append(f"`{name}` sampled at full width: {WHY[s.op.split('(')[0]]}")
        if s.how == "narrowed":
            parts.append(f"`{name}` proved for inputs of {s.bits} bits, sampled at full width")
    return "; ".join(parts)
