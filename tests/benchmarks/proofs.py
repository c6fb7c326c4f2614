"""Print what is proved of the operators' and the vector chains' wires, how, and in how long.

`python -m tests.benchmarks.proofs` prints three tables (about half an hour on one core): each
operator at the recipes' own widths, the others at small ones, each distinct vector chain; `--only
operators` or `--only chains` prints one part. It exits with 1 if anything is refuted.
"""

import argparse
import sys
import time

from tests.benchmarks.proved_rows import chain_row, heading, operator_rows
from tests.rtl.chain_cases import chains


def main() -> int:
    """Print the tables; return 1 unless all holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.proofs")
    parser.add_argument("--only", choices=("operators", "chains"))
    only = parser.parse_args().only
    failed, started = 0, time.monotonic()
    if only != "chains":
        heading("operator", "of", "how", "instances", "seconds")
        for row, holds in operator_rows():
            failed += not holds
            print(row, flush=True)
    if only != "operators":
        heading("chain", "recipe", "operators", "how", "places", "kinds", "seconds")
        for recipe, unit, plan in chains():
            row, holds = chain_row(recipe, unit, plan)
            failed += not holds
            print(row, flush=True)
    print(f"\n{failed} do not hold; {time.monotonic() - started:,.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
