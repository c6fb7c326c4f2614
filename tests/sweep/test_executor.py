"""Workers answer every task or it is named as lost; what a dead one held is done by another."""

import os
import subprocess
import sys
import textwrap
import time
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.sweep.executor import Event, Lost, Serial, Workers
from cosim.sweep.processes import Processes
from tests.cli.command import ROOT
from tests.sweep.workers import Square, StillBorn


class Scripted:
    """A crew without processes: who does what, and who dies of what, is drawn."""

    def __init__(self, size: int, held: int, fatal: dict[int, int], draw):
        self.size, self.held, self.fatal, self.draw = size, held, dict(fatal), draw
        self.queues: dict[int, deque] = {}
        self.given: list[int] = []

    def start(self, worker):
        assert worker not in self.queues, "started while it was alive"
        self.queues[worker] = deque(["ready"])

    def send(self, worker, task):
        self.given.append(task)
        if worker in self.queues:
            assert "ready" not in self.queues[worker], "given a task before it is ready"
            self.queues[worker].append(task)
            assert len(self.queues[worker]) <= self.held

    def wait(self):
        busy = [w for w, queue in self.queues.items() if queue]
        assert busy, "waits for nobody"
        worker = self.draw(busy)
        what = self.queues[worker].popleft()
        if what == "ready":
            return [Event(worker, "ready")]
        if self.fatal.get(what, 0) > 0:
            self.fatal[what] -= 1
            del self.queues[worker]
            return [Event(worker, "death", text="scripted")]
        return [Event(worker, "answer", what * what)]

    def close(self):
        self.queues.clear()


@given(st.data())
def test_any_order_of_answers_and_deaths(data):
    """At most seven deaths here: more than that in a row is another matter, below."""
    tasks = list(range(data.draw(st.integers(0, 12), "tasks")))
    deaths = st.dictionaries(st.sampled_from(tasks), st.integers(1, 2), max_size=3)
    fatal = data.draw(deaths if tasks else st.just({}), "deaths")
    size = data.draw(st.integers(1, 4), "workers")
    held = data.draw(st.integers(1, 3), "held")
    crew = Scripted(size, held, fatal, lambda busy: data.draw(st.sampled_from(busy)))
    answers = list(Workers(crew).submit(tasks))
    assert sorted(place for place, _ in answers) == tasks
    for place, answer in answers:
        assert answer == (Lost("scripted") if fatal.get(place) == 2 else place * place)


def test_a_crew_that_only_dies_is_given_up():
    crew = Scripted(2, 2, dict.fromkeys(range(40), 2), lambda busy: busy[0])
    with pytest.raises(UserError, match=r"8 workers died one after another, the last one: script"):
        list(Workers(crew).submit(range(40)))


def test_serial_answers_in_order(tmp_path):
    with Serial(Square(tmp_path)) as here:
        assert list(here.submit([3, 1, 2])) == [(0, 9), (1, 1), (2, 4)]


def test_processes_share_the_tasks(tmp_path):
    work = Square(tmp_path, together=2)
    with Workers(Processes(work, 2)) as pool:
        first = dict(pool.submit(range(30)))
        again = dict(pool.submit([7, 8]))
    assert first == {k: k * k for k in range(30)}
    assert again == {0: 49, 1: 64}, "the same workers serve the next batch"
    assert len(work.workers()) == 2
    assert str(os.getpid()) not in work.workers()
    assert all(work.asked(k) == 1 for k in range(30) if k not in {7, 8})


def test_a_dead_worker_costs_its_point_a_second_try_and_no_other(tmp_path):
    said = []
    work = Square(tmp_path, deadly=(4,))
    with Workers(Processes(work, 2), said.append) as pool:
        assert dict(pool.submit(range(12))) == {k: k * k for k in range(12)}
    assert work.asked(4) == 2
    assert all(work.asked(k) == 1 for k in range(12) if k != 4)
    assert said == [
        "a worker died (SIGKILL, perhaps for want of memory); its point is tried once more"
    ]


def test_a_point_that_kills_twice_is_lost_and_no_other(tmp_path):
    work = Square(tmp_path, deadly=(4,), always=True)
    with Workers(Processes(work, 2)) as pool:
        found = dict(pool.submit(range(12)))
    assert found.pop(4) == Lost("SIGKILL, perhaps for want of memory")
    assert found == {k: k * k for k in range(12) if k != 4}
    assert work.asked(4) == 2


@pytest.mark.parametrize(("seconds", "least", "most"), [(0.0, 3, 16), (0.08, 2, 2)])
def test_many_short_tasks_lie_with_a_worker_and_two_long_ones(tmp_path, seconds, least, most):
    crew = Processes(Square(tmp_path, seconds=seconds), 2)
    assert crew.held == 2, "nothing is known yet"
    with Workers(crew) as pool:
        assert dict(pool.submit(range(40))) == {k: k * k for k in range(40)}
        assert least <= crew.held <= most


def test_a_dead_worker_with_many_tasks_at_hand_costs_its_point_alone(tmp_path):
    work = Square(tmp_path, deadly=(50, 90))
    crew = Processes(work, 2)
    with Workers(crew) as pool:
        assert dict(pool.submit(range(120))) == {k: k * k for k in range(120)}
    assert crew.held > 2
    assert {k: work.asked(k) for k in range(120)} == {k: 1 + (k in {50, 90}) for k in range(120)}


def test_a_fault_of_ours_keeps_its_traceback(tmp_path):
    with (
        Workers(Processes(Square(tmp_path, wrong=(1,)), 1)) as pool,
        pytest.raises(RuntimeError, match=r"workers.py(?s:.)*ZeroDivisionError: of 1"),
    ):
        list(pool.submit([0, 1]))


def test_workers_that_do_not_start_are_told_at_once():
    with (
        Workers(Processes(StillBorn(), 2)) as pool,
        pytest.raises(UserError, match="a worker does not start: exit status 3; try --workers 1"),
    ):
        list(pool.submit([0, 1]))


OWNER = """
    import sys
    from pathlib import Path
    from cosim.sweep.executor import Workers
    from cosim.sweep.processes import Processes
    from tests.sweep.workers import Square

    if __name__ == "__main__":
        with Workers(Processes(Square(Path(sys.argv[1]), seconds=0.05), 2)) as pool:
            for place, _ in pool.submit(range(1000)):
                print(place, flush=True)
"""


def test_workers_end_with_their_killed_owner(tmp_path):
    script = tmp_path / "owner.py"
    script.write_text(textwrap.dedent(OWNER))
    marks = tmp_path / "marks"
    marks.mkdir()
    owner = subprocess.Popen(
        [sys.executable, script, marks],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        for _ in range(4):
            owner.stdout.readline()
        owner.kill()
    pids = Square(marks).workers()
    assert pids
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(Path("/proc", pid).exists() for pid in pids):
        time.sleep(0.05)
    assert [pid for pid in pids if Path("/proc", pid).exists()] == []


@pytest.mark.parametrize("breaks_off", [False, True])
def test_no_worker_outlives_its_context(tmp_path, breaks_off):
    crew = Processes(Square(tmp_path), 2)
    with Workers(crew) as workers:
        for _ in workers.submit([1, 2, 3, 4]):
            started = [process for process, _ in crew.running.values()]
            if breaks_off:
                break
    assert len(started) == 2
    assert not any(process.is_alive() for process in started)
