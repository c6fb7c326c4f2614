"""A plan puts every step after what it reads, and circles of nodes into one step."""

import numpy as np
import pytest

from cosim.ir.graph import Graph, GraphBuilder
from cosim.ir.types import TensorType, i
from cosim.kernels.plan import Recurrence, Single, plan
from cosim.ops import Add, Contract, DecayUpdate, Push
from tests.random_graphs import random_model


def names_of(graph: Graph) -> list[str]:
    """Write each step as text: a node, or states and nodes of a circle and its read-out."""
    text = []
    for step in plan(graph):
        if isinstance(step, Single):
            text.append(step.node.name)
        else:
            read = f" -> {step.read_out.name}" if step.read_out else ""
            nodes = ",".join(n.name for n in step.nodes)
            text.append(f"[{','.join(step.states)}: {nodes}{read}]")
    return text


MATRIX, BYTES = TensorType.full(i(8), (2, 3)), TensorType.full(i(8), (2,))


def decaying(other: str) -> Graph:
    """Build x -> update of h -> read, with a second reader of the new state."""
    b = GraphBuilder("g")
    x = b.input("x", MATRIX)
    h = b.state("h", MATRIX)
    one = b.const("one", np.ones((1, 1), dtype=np.int64), i(2))
    new = b.add("new", DecayUpdate(0, i(8)), h, one, x, one, one)
    b.update(h, new)
    b.add("late", Add(i(8)), x, x)
    b.add("from.new", Add(i(8)), new, x)
    b.output("y", b.add("read", Contract(), new, other))
    return b.build()


def test_a_read_out_is_fused_and_waits_for_its_other_operand():
    b = GraphBuilder("g")
    x, h = b.input("x", MATRIX), b.state("h", MATRIX)
    one = b.const("one", np.ones((1, 1), dtype=np.int64), i(2))
    b.update(h, b.add("new", DecayUpdate(0, i(8)), h, one, x, one, one))
    b.add("late", Add(i(8)), x, x)
    b.output("y", b.add("read", Contract(), "new", "late"))
    assert names_of(b.build()) == ["late", "[h: new -> read]"]


def test_a_read_out_is_not_fused_where_others_read_the_state():
    assert names_of(decaying("late")) == ["[h: new]", "late", "from.new", "read"]


def test_a_read_out_is_not_fused_with_an_operand_made_from_the_state():
    assert names_of(decaying("from.new")) == ["[h: new]", "late", "from.new", "read"]


def test_a_delay_line_is_a_step_of_its_own():
    b = GraphBuilder("g")
    x, w = b.input("x", BYTES), b.state("w", TensorType.full(i(8), (3, 2)))
    b.update(w, b.add("p", Push(), w, x))
    b.output("y", "p")
    assert names_of(b.build()) == ["[w: p]"]


def test_a_chain_of_states_comes_in_order():
    """two' = one, one' = y, y = x + two: all three wait for each other."""
    b = GraphBuilder("g")
    x, two, one = b.input("x", BYTES), b.state("two", BYTES), b.state("one", BYTES)
    b.add("y", Add(i(8)), x, two)
    b.update(one, "y")
    b.update(two, one)
    b.output("o", "y")
    assert names_of(b.build()) == ["[two,one: y]"]


def test_a_delay_is_a_step_without_nodes():
    b = GraphBuilder("g")
    x, two, one = b.input("x", BYTES), b.state("two", BYTES), b.state("one", BYTES)
    b.update(one, x)
    b.update(two, one)
    b.output("o", b.add("y", Add(i(8)), x, two))
    assert names_of(b.build()) == ["[one: ]", "[two: ]", "y"]


@pytest.mark.parametrize("seed", range(40))
def test_every_step_finds_what_it_reads(seed):
    for segment in random_model(seed).segments:
        graph = segment.graph
        ready = {*graph.inputs, *graph.consts}
        nodes: list[str] = []
        states: list[str] = []
        for step in plan(graph):
            assert set(step.reads) <= ready, f"{step} reads {set(step.reads) - ready}"
            if isinstance(step, Recurrence):
                inside = {*step.states, *(n.name for n in step.all_nodes)}
                needed = {x for n in step.all_nodes for x in n.inputs}
                needed |= {graph.states[s].next for s in step.states}
                assert needed <= inside | set(step.reads)
                states += step.states
                nodes += [n.name for n in step.all_nodes]
                ready |= inside
            else:
                nodes.append(step.node.name)
                ready.add(step.node.name)
        assert sorted(nodes) == sorted(n.name for n in graph.nodes), "each node runs once"
        assert sorted(states) == sorted(graph.states)
