"""Order a step graph for execution over many tokens: single nodes, and recurrences as units."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx

from cosim.ir.graph import Graph, Node
from cosim.ops.contract import Contract
from cosim.ops.decay_update import DecayUpdate


@dataclass(frozen=True)
class Single:
    """Evaluate one node over all tokens at once."""

    node: Node
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Recurrence:
    """Evaluate the nodes between some states and their next values token by token.

    `reads` are the values from outside. `read_out` is a contraction of the next state that runs
    inside the loop, so that the state of every token need not be kept. `shown` are the states
    and values of the recurrence that nodes or states outside of it read.
    """

    states: tuple[str, ...]
    nodes: tuple[Node, ...]
    reads: tuple[str, ...]
    shown: frozenset[str]
    read_out: Node | None = None

    @property
    def all_nodes(self) -> tuple[Node, ...]:
        """Return the nodes in order, the read-out last."""
        return self.nodes if self.read_out is None else (*self.nodes, self.read_out)


Step = Single | Recurrence


def plan(graph: Graph) -> tuple[Step, ...]:
    """Split the graph into steps in an order in which every step finds its inputs."""
    net = graph.network()
    net.remove_nodes_from(graph.consts)
    fused = _fuse_read_outs(graph, net)
    names = [*graph.inputs, *graph.states, *(n.name for n in graph.nodes)]
    order = {name: k for k, name in enumerate(names)}
    nodes = {n.name: n for n in graph.nodes}
    whole = nx.condensation(net)
    first = {c: min(order[m] for m in whole.nodes[c]["members"]) for c in whole}
    steps: list[Step] = []
    for component in nx.lexicographical_topological_sort(whole, key=first.__getitem__):
        members = whole.nodes[component]["members"]
        states = tuple(n for n in graph.states if n in members)
        inside = tuple(nodes[m] for m in sorted(members & nodes.keys(), key=order.__getitem__))
        if states:
            read_out = fused.get(inside[0].name) if inside else None
            known = {*members, read_out.name} if read_out else members
            used = {i for n in (*inside, *([read_out] if read_out else [])) for i in n.inputs}
            late = {graph.states[s].next for s in states}
            reads = tuple(sorted((used | late) - known))
            own = {*inside, read_out} if read_out else {*inside}
            elsewhere = {i for n in graph.nodes if n not in own for i in n.inputs}
            elsewhere |= {s.next for name, s in graph.states.items() if name not in states}
            shown = frozenset(elsewhere & {*states, *(n.name for n in own)})
            steps.append(Recurrence(states, inside, reads, shown, read_out))
        elif inside and inside[0] not in fused.values():
            steps.append(Single(inside[0], inside[0].inputs))
    return tuple(steps)


def _fuse_read_outs(graph: Graph, net: nx.DiGraph) -> dict[str, Node]:
    """Make each decaying state wait for its read-out's other operand; return the pairs."""
    fused: dict[str, Node] = {}
    circles = [c for c in nx.strongly_connected_components(net) if len(c) > 1]
    for node in graph.nodes:
        if not isinstance(node.op, DecayUpdate):
            continue
        readers = [n for n in graph.nodes if node.name in n.inputs]
        if len(readers) != 1 or not isinstance(readers[0].op, Contract):
            continue
        state, other = readers[0].inputs
        alone = {node.name, node.inputs[0]} in circles and node.inputs[0] in graph.states
        if state != node.name or not alone or other in graph.consts:
            continue
        if nx.has_path(net, node.name, other):
            continue
        net.add_edge(other, node.name, delay=0)
        fused[node.name] = readers[0]
    return fused
