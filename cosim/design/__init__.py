"""Map a graph on a machine: units, static orders, FIFOs, placements, and why they are so."""

from cosim.design.choose import Lanes, default_design, sized_design
from cosim.design.graph_kind import GraphKind, graph_kinds
from cosim.design.plan import Design, Fifo, Layout, Ports, Task, Unit

__all__ = [
    "Design", "Fifo", "GraphKind", "Lanes", "Layout", "Ports", "Task", "Unit",
    "default_design", "graph_kinds", "sized_design",
]  # fmt: skip
