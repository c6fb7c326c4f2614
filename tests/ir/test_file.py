"""A saved model comes back the same; a damaged folder is refused in one sentence."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cosim.ir.errors import UserError
from cosim.ir.file import GRAPH_FILE, TENSOR_FILE, content_hash, load_model, save_model
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import OPS, Add, Argmax, Linear, Requant, Reshape
from cosim.reference import run
from tests.ir.test_graph import small


def wide():
    """Build a graph with constants of every storage width, a scalar among them."""
    b = GraphBuilder("wide")
    x = b.input("x", TensorType.full(i(7), (2,)), scale=0.1)
    for name, bits in (("c8", 8), ("c9", 9), ("c32", 32), ("c60", 60)):
        edge = b.const(name, np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]), i(bits))
        b.output(name, b.add(f"{name}.sum", Add(i(62)), x, edge))
    b.const("u8", np.array([[0, 255], [1, 2]]), u(8))
    y = b.add("y", Linear(2), x, "u8", b.const("m", np.array([[1], [3]]), u(2)), scale=0.3)
    b.output("y", y)
    top = b.add("top", Argmax(), b.add("square", Reshape((2,), (1, 2)), y))
    flat = b.add("scalar", Reshape((1,), ()), top)
    b.output("scalar", b.add("shifted", Requant(i(4)), flat, b.const("s", np.int64(-1), i(2))))
    return b.build()


def example() -> Model:
    segments = (
        Segment("a", small().build(), {"x": "in"}),
        Segment("b", small().build(), {"x": "in"}, "backward"),
        Segment("c", wide(), {"x": "a.out"}, look_ahead=1),
    )
    outputs = {"y": "c.y", "c60": "c.c60", "b": "b.out", "s": "c.scalar"}
    return Model("example", {"in": TensorType.full(i(8), (2,))}, segments, outputs)


@pytest.fixture
def saved(tmp_path) -> Path:
    save_model(example(), tmp_path / "graph")
    return tmp_path / "graph"


def test_a_model_comes_back_the_same(saved):
    model, back = example(), load_model(saved, OPS)
    assert back.text() == model.text()
    assert content_hash(back) == content_hash(model)
    assert [s.graph.scales for s in back.segments] == [s.graph.scales for s in model.segments]
    for a, b in zip(model.segments, back.segments, strict=True):
        assert list(a.graph.types) == list(b.graph.types)
        for name, data in a.graph.tensors.items():
            assert b.graph.tensors[name].dtype == np.int64
            assert np.array_equal(b.graph.tensors[name], data)
            assert b.graph.tensors[name].shape == data.shape
    x = {"in": np.random.default_rng(0).integers(-128, 128, (9, 2))}
    before, after = run(model, x, keep=None), run(back, x, keep=None)
    assert all(np.array_equal(before.values[n], after.values[n]) for n in before.values)


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    digest = save_model(load_model(saved, OPS), tmp_path / "again")
    assert digest == content_hash(example()) == json.loads((saved / GRAPH_FILE).read_text())["hash"]
    for name in (GRAPH_FILE, TENSOR_FILE):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_constants_are_stored_in_their_narrowest_type(saved):
    stored = {n: str(t.dtype) for n, t in load_file(saved / TENSOR_FILE).items()}
    assert {n: stored[f"c/{n}"] for n in ("c8", "c9", "c32", "c60", "u8", "s")} == {
        "c8": "int8",
        "c9": "int16",
        "c32": "int32",
        "c60": "int64",
        "u8": "int16",
        "s": "int8",
    }


def test_the_hash_sees_structure_scales_and_data():
    digest = content_hash(example())
    assert content_hash(example()) == digest
    for change in ("value", "scale", "name", "attribute"):
        b = GraphBuilder("small")
        x = b.input("x", TensorType.full(i(8), (2,)), 0.5 if change != "scale" else 0.25)
        data = np.array([1, 2]) if change != "value" else np.array([2, 1])
        c = b.const("c", data, i(8))
        op = Add(i(9)) if change != "attribute" else Add(i(10))
        b.output("o", b.add("y" if change != "name" else "z", op, x, c))
        m = Model(
            "m",
            {"in": TensorType.full(i(8), (2,))},
            (Segment("a", b.build(), {"x": "in"}),),
            {"o": "a.o"},
        )
        assert content_hash(m) != digest
        digest = content_hash(m)


def test_a_model_without_weights_is_a_folder_without_tensors(tmp_path):
    bare = example().without_weights()
    save_model(bare, tmp_path / "bare")
    assert [p.name for p in (tmp_path / "bare").iterdir()] == [GRAPH_FILE]
    back = load_model(tmp_path / "bare", OPS)
    assert not back.has_weights
    assert back.text() == example().text()
    with pytest.raises(UserError, match=r"model example has no weights: it can be simulated but"):
        run(back, {"in": np.zeros((3, 2), dtype=np.int64)})


def test_a_folder_of_weights_is_replaced_by_one_without(saved):
    save_model(example().without_weights(), saved)
    assert [p.name for p in saved.iterdir()] == [GRAPH_FILE]


def refused(folder: Path, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        load_model(folder, OPS)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_one_flipped_bit_in_any_tensor_is_refused(saved):
    path = saved / TENSOR_FILE
    for name in load_file(path):
        tensors = {n: t.copy() for n, t in load_file(path).items()}
        tensors[name].reshape(-1).view(np.uint8)[0] ^= 1
        save_file(tensors, path)
        refused(saved, "the content does not match its hash .* quantise the model again")
        tensors[name].reshape(-1).view(np.uint8)[0] ^= 1
        save_file(tensors, path)
    load_model(saved, OPS)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"i8"', '"i9"'), ("4\n", "5\n"), ('"backward"', '"forward"'), ('"y"', '"q"'), ("0.1", "0.2")],
)
def test_a_changed_structure_is_refused(saved, old, new):
    path = saved / GRAPH_FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    refused(saved, "the content does not match its hash")


def test_tensors_of_another_model_are_refused(saved):
    (saved / TENSOR_FILE).unlink()
    refused(saved, "the content does not match its hash")
    save_file({"a/taps": np.zeros((3, 2), dtype=np.int8)}, saved / TENSOR_FILE)
    refused(saved, "the content does not match its hash")


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.99])
def test_cut_tensors_are_refused(saved, kept):
    path = saved / TENSOR_FILE
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    refused(saved, "tensors.safetensors: cannot be read .* quantise the model again")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": 1}',
        "\udcff",
        "[" * 100000,
        '{"schema": 1, "hash": 5, "model": {}}',
    ],
)
def test_a_file_that_is_no_graph_is_refused(saved, text):
    (saved / GRAPH_FILE).write_bytes(text.encode(errors="surrogateescape"))
    refused(saved, "not a graph file .* quantise the model again|does not match its hash")


@pytest.mark.parametrize("schema", [0, 2, 99, "1", None])
def test_another_schema_is_refused(saved, schema):
    path = saved / GRAPH_FILE
    data = json.loads(path.read_text())
    data["schema"] = schema
    path.write_text(json.dumps(data))
    refused(saved, f"schema {schema}, this version reads 1; use the version that wrote it or")


def test_a_missing_folder_or_file_is_refused(saved):
    refused(saved / "gone", "no graph.json there; give a folder that `quantize` wrote")
    (saved / GRAPH_FILE).unlink()
    refused(saved, "no graph.json there")


def rehashed(saved, change):
    """Change the structure and give it the hash that fits, as no honest writer would."""
    from cosim.ir import file

    path = saved / GRAPH_FILE
    data = json.loads(path.read_text())
    change(data["model"])
    tensors = load_file(saved / TENSOR_FILE)
    data["hash"] = file._digest(data["model"], tensors)
    path.write_text(json.dumps(data))


def node(model, segment, index):
    return model["segments"][segment]["graph"]["nodes"][index]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: node(m, 0, 0).__setitem__(1, "gone"), "not a graph of this version"),
        (lambda m: node(m, 0, 2)[2].pop("dtype"), "not a graph of this version"),
        (lambda m: node(m, 0, 2)[2].update(extra=1), "not a graph of this version"),
        (lambda m: node(m, 0, 2)[2].update(dtype="f32"), "integer type 'f32'"),
        (lambda m: node(m, 0, 0).__setitem__(3, "gone"), "not a graph of this version"),
        (lambda m: node(m, 0, 0).pop(), "not a graph of this version"),
        (lambda m: m.pop("outputs"), "not a graph of this version"),
        (lambda m: m.update(segments=5), "not a graph of this version"),
        (lambda m: m["segments"][0].update(wires={}), "not a graph of this version"),
        (lambda m: m["inputs"].update({"in": ["i8"]}), "not a graph of this version"),
        (lambda m: m["inputs"].update({"in": ["i8", [0], 0, 1]}), "an axis without elements"),
        (
            lambda m: m["segments"][0]["graph"]["consts"].update(taps=["i2", [3, 2], -2, 1]),
            "not a graph of this version",
        ),
    ],
)
def test_a_structure_of_another_make_is_refused(saved, change, said):
    rehashed(saved, change)
    with pytest.raises(UserError, match=said):
        load_model(saved, OPS)


def test_only_a_folder_of_ours_is_replaced(saved):
    (saved / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"it holds 'thesis\.tex', which would be lost"):
        save_model(example(), saved)
    assert (saved / "thesis.tex").read_text() == "years of work"
    load_model(saved, OPS)


def test_a_full_disk_leaves_the_old_folder(saved, monkeypatch):
    before = {p.name: p.read_bytes() for p in saved.iterdir()}

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for broken in ("pathlib.Path.write_text", "cosim.ir.file.save_file", "pathlib.Path.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(broken, full)
            with pytest.raises(UserError, match=r"No space left on device"):
                save_model(example().without_weights() if "text" in broken else example(), saved)
        assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
        assert [p.name for p in saved.parent.iterdir()] == ["graph"]


@pytest.mark.parametrize("broken", ["cosim.ir.file.save_file", "pathlib.Path.replace"])
def test_ctrl_c_leaves_the_old_folder(saved, monkeypatch, broken):
    before = {p.name: p.read_bytes() for p in saved.iterdir()}

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(broken, stop)
        with pytest.raises(KeyboardInterrupt):
            save_model(example(), saved)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    assert [p.name for p in saved.parent.iterdir()] == ["graph"]


def test_a_disk_that_is_really_full_leaves_the_old_folder(saved):
    """No mock: the system cuts every file of the child process at 4 KiB, tensors included."""
    script = """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from cosim.ir.errors import UserError
        from cosim.ir.file import save_model
        from cosim.ir.graph import GraphBuilder
        from cosim.ir.model import Model, Segment
        from cosim.ir.types import TensorType, i
        from cosim.ops import Add
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        b = GraphBuilder("g")
        x = b.input("x", TensorType.full(i(8), (9000,)))
        b.output("y", b.add("y", Add(i(9)), x, b.const("c", np.arange(9000) % 100, i(8))))
        m = Model("m", {"x": b.types["x"]}, (Segment("s", b.build(), {"x": "x"}),), {"y": "s.y"})
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            save_model(m, Path(sys.argv[1]))
        except UserError as error:
            print(error)
    """
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", textwrap.dedent(script), str(saved)]
    ran = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"cannot write {saved}: ")
    assert "File too large" in ran.stdout
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    assert [p.name for p in saved.parent.iterdir()] == ["graph"]
