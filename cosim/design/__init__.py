"""Map a graph on a machine: units, static orders, FIFOs, placements, and why they are so."""

from cosim.design.choices import Choices, Lanes
from cosim.design.choose import default_design
from cosim.design.design import Design
from cosim.design.graph_kind import GraphKind, graph_kinds
from cosim.design.plan import Fifo, Layout, Ports, Task, Unit
from cosim.design.sized import sized_design
from cosim.design.workload import Workload

__all__ = [
    "Choices", "Design", "Fifo", "GraphKind", "Lanes", "Layout", "Ports", "Task", "Unit",
    "Workload", "default_design", "graph_kinds", "sized_design",
]  # fmt: skip
