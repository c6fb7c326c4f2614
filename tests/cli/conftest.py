"""A finished run of a tiny model, made once, and copies of it to damage."""

import shutil

import pytest

from tests.cli.command import WALK, command
from tests.cli.tiny import write_model, write_text


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """Return a folder with `model` and `run`."""
    base = tmp_path_factory.mktemp("done")
    write_text(write_model(base / "model") / "held_out.txt", 160)
    ran = command("walk", base / "model", *WALK, "-o", base / "run")
    assert ran.status == 0, ran
    return base


@pytest.fixture
def model(done, tmp_path):
    return shutil.copytree(done / "model", tmp_path / "model")


@pytest.fixture
def run(done, tmp_path):
    return shutil.copytree(done / "run", tmp_path / "run")
