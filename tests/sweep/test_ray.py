"""Ray serves the same executor: a cluster of two machines, each with one core, on this one."""

import os

import pytest

from cosim.ir.errors import UserError
from cosim.sweep.executor import Lost, Workers
from tests.cli.command import ROOT, command
from tests.cli.test_sweep import outputs
from tests.sweep.study_text import write_study
from tests.sweep.workers import Square

ray = pytest.importorskip("ray", reason="pip install cosim-toolkit[ray]")
pytestmark = [
    pytest.mark.slow,
    # Ray 2.60 leaves sockets of its own open when it shuts down.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]


@pytest.fixture(scope="module")
def cluster():
    """Start two machines, as far as Ray can tell, and return the address of the first."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(ROOT)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made.address
    made.shutdown()


@pytest.fixture
def workers(cluster):
    from cosim.sweep.ray_workers import RayWorkers

    def make(work):
        return Workers(RayWorkers(work, 2, cluster))

    return make


def test_two_machines_share_the_tasks(workers, tmp_path):
    work = Square(tmp_path, together=2)
    with workers(work) as pool:
        assert dict(pool.submit(range(30))) == {k: k * k for k in range(30)}
        assert [node["Resources"]["CPU"] for node in ray.nodes()] == [1.0, 1.0]
    assert len(work.workers()) == 2


def test_a_dead_actor_costs_its_point_a_second_try(workers, tmp_path):
    work = Square(tmp_path, deadly=(4,))
    with workers(work) as pool:
        assert dict(pool.submit(range(12))) == {k: k * k for k in range(12)}
    assert work.asked(4) == 2


def test_a_point_that_kills_twice_is_lost(workers, tmp_path):
    with workers(Square(tmp_path, deadly=(4,), always=True)) as pool:
        found = dict(pool.submit(range(12)))
    lost = found.pop(4)
    assert isinstance(lost, Lost)
    assert lost.reason.startswith("Ray: ")
    assert found == {k: k * k for k in range(12) if k != 4}


def test_a_fault_of_ours_keeps_its_traceback(workers, tmp_path):
    with (
        workers(Square(tmp_path, wrong=(1,))) as pool,
        pytest.raises(RuntimeError, match=r"ZeroDivisionError: of 1"),
    ):
        list(pool.submit([0, 1]))


def test_a_machine_with_another_version_is_refused(workers, tmp_path, monkeypatch):
    monkeypatch.setattr("cosim.sweep.store.code_digest", lambda part: part)
    with (
        workers(Square(tmp_path)) as pool,
        pytest.raises(UserError, match=r"a machine of the cluster has .* and this one .*; install"),
    ):
        list(pool.submit([0, 1]))


def test_the_command_writes_the_same_bytes(cluster, tmp_path):
    study = write_study(tmp_path)
    assert command("sweep", study, "-o", tmp_path / "a", "--executor", "serial").status == 0
    ran = command("sweep", study, "-o", tmp_path / "b", "--executor", "ray", "--workers", 2,
                  "--ray", cluster)  # fmt: skip
    assert ran.status == 0, ran
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nobody.invalid:6379"])
def test_nobody_at_the_address_is_a_sentence(tmp_path, address):
    study = write_study(tmp_path)
    ran = command("sweep", study, "-o", tmp_path / "b", "--executor", "ray", "--ray", address)
    assert ran.status == 2
    assert f"cosim: no Ray cluster at {address} (" in ran.err
