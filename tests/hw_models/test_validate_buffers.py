"""Buffers in place of FIFOs: a taker begins when its maker has pushed a whole turn."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from hw_models.dataflow import solve
from hw_models.network import Actor, Channel, Firing, Network, Program
from hw_models.validate.buffers import as_buffers, word


def chain(beats: int, stages: int, loops: int, depth: int, latency: int = 1) -> Network:
    """Return a chain of units, each of which passes so many beats on, a turn after another."""
    actors, channels = [], {}
    for k in range(stages):
        pops = (f"f{k - 1}",) if k else ()
        pushes = (f"f{k}",) if k < stages - 1 else ()
        body = Program.of((beats, Firing(pops, pushes, latency, task=f"t{k}")))
        actors.append(Actor(f"a{k}", body=body, loops=loops))
        if pushes:
            channels[f"f{k}"] = Channel(depth)
    return Network(tuple(actors), channels)


@pytest.mark.parametrize(("beats", "stages", "latency"), [(1, 3, 1), (2, 4, 1), (9, 3, 4)])
def test_units_work_one_after_another(beats, stages, latency):
    plain = chain(beats, stages, 1, beats, latency)
    fifos = list(plain.channels)
    streamed = solve(plain).finish(f"a{stages - 1}")[-1]
    assert streamed == beats + (stages - 1) * latency
    fenced = solve(as_buffers(plain, fifos))
    # Each stage begins `latency` after the last firing of the one before.
    assert fenced.finish(f"a{stages - 1}")[-1] == stages * beats + (stages - 1) * (latency - 1)
    spans = {s.actor: s for s in fenced.spans()}
    for k in range(1, stages):
        assert spans[f"a{k}"].start_cycle >= spans[f"a{k - 1}"].end_cycle


def test_only_the_named_fifos_are_waited_for():
    plain = chain(8, 3, 1, 8)
    assert solve(as_buffers(plain, [])).finish("a2")[-1] == 10
    assert solve(as_buffers(plain, ["f0"])).finish("a2")[-1] == 8 + 8 + 1
    network = as_buffers(plain, ["f0"])
    assert network.ends(word("f0")) == ("a0", "a1")


def test_turns_overlap_while_two_buffers_last_and_the_shortcut_agrees():
    network = as_buffers(chain(5, 3, 40, 10), ["f0", "f1"])
    whole, short = (solve(network, 2, s) for s in (False, True))
    assert np.array_equal(whole.finish_cycles, short.finish_cycles)
    # Stages take 5 cycles a turn side by side, once the first turn has gone through all of them.
    assert whole.finish("a2")[0] == (40 + 2) * 5


def test_tasks_of_one_unit_wait_for_their_own_inputs():
    """Unit b does two tasks; the second begins when c, which the first feeds, is done."""
    b = Actor("b", loops=1, body=Program.join((
        Program.of((4, Firing((), ("to c",), task="first"))),
        Program.of((4, Firing(("from c",), (), task="second"))),
    )))  # fmt: skip
    c = Actor("c", loops=1, body=Program.of((4, Firing(("to c",), ("from c",), task="c"))))
    network = Network((b, c), {"to c": Channel(4), "from c": Channel(4)})
    assert solve(network).finish("b")[-1] == 8
    assert solve(as_buffers(network, ["to c", "from c"])).finish("b")[-1] == 12


def test_a_fifo_too_shallow_for_a_turn_deadlocks_with_a_sentence():
    with pytest.raises(UserError, match=r"the design deadlocks: .*f0"):
        solve(as_buffers(chain(8, 2, 1, 4), ["f0"]))
