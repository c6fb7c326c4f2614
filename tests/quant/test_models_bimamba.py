"""typeseg's bidirectional Mamba against the package's own numpy backend, on real files."""

import importlib.util
import json
import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from cosim.ir.errors import UserError
from quant import models
from quant.models import bimamba, typeseg
from quant.models.common import orthonormal_hadamard

pytest.importorskip("typeseg", reason="typeseg, an optional package, is not installed")

STDLIB = Path(sysconfig.get_paths()["stdlib"])
# The last one is JSON text by content; the window of each starts where the file does.
FILES = (
    "json/decoder.py",
    "this.py",
    "email/architecture.rst",
    "pydoc_data/_pydoc.css",
    "LICENSE.txt",
)
WINDOW = 256


@pytest.fixture(scope="module")
def model():
    return typeseg.load_typeseg()


@pytest.fixture(scope="module")
def package_logits():
    from typeseg._numpy_backend import mamba_forward
    from typeseg._runtime import _weights

    weights = _weights("mamba_al.npz")
    return lambda tokens: mamba_forward(weights, tokens)


def windows():
    """Return one window of each file, as the package's own tokeniser gives it."""
    from typeseg._tokenize import text_to_bytes

    found = {}
    for name in FILES:
        path = STDLIB / name
        if path.exists():
            text = path.read_text(encoding="utf-8")
            found[name] = torch.from_numpy(text_to_bytes(text)[:WINDOW].astype(np.int64))[None]
    html = "<html><style>p { color: #e67e22 }</style><p>caf\u00e9 \u2192 \x00\x7f</p>"
    found["html"] = torch.from_numpy(text_to_bytes(html).astype(np.int64))[None]
    found["json"] = torch.from_numpy(text_to_bytes(json.dumps({"a": [1, 2.5]})).astype(np.int64))[
        None
    ]
    assert len(found) >= 5
    return found


def test_logits_equal_the_numpy_backend_on_real_files(model, package_logits):
    for name, tokens in windows().items():
        theirs = package_logits(tokens[0].numpy())
        ours = bimamba.sequence(model, tokens)[0].numpy()
        assert np.abs(ours - theirs).max() <= 1e-4, name  # absolute; the logits reach 6 to 11
        assert (ours.argmax(-1) == theirs.argmax(-1)).all(), name


def test_the_name_typeseg_loads_it_and_the_family_functions_run_it(model):
    loaded = models.load_model("typeseg")
    assert isinstance(loaded, bimamba.BiMamba)
    assert (loaded.config.labels[8], len(loaded.config.labels)) == ("python", 35)
    tokens = bimamba.encode(b"import os")
    assert torch.equal(models.sequence(loaded, tokens), bimamba.sequence(model, tokens))
    assert models.linears(loaded) == bimamba.linears(model)


def test_a_batch_of_windows_equals_its_windows_alone(model):
    tokens = torch.cat([window[:, :40] for window in windows().values() if window.shape[1] >= 40])
    batch = bimamba.sequence(model, tokens)
    for row, alone in zip(tokens, batch, strict=True):
        torch.testing.assert_close(bimamba.sequence(model, row[None])[0], alone, rtol=0, atol=1e-4)


def test_padding_and_high_bytes_share_rows_as_in_the_package(model, package_logits):
    tokens = torch.tensor([[0, 127, 128, 164, 255, 256, 65]])
    theirs = package_logits(tokens[0].numpy())
    ours = bimamba.sequence(model, tokens)[0].numpy()
    assert np.abs(ours - theirs).max() <= 1e-4


def test_encode_equals_the_packages_tokeniser():
    from typeseg._tokenize import text_to_bytes

    text = "".join(map(chr, range(256))) + "\u2192\U0001f600"
    assert bimamba.encode(text.encode()).tolist() == [text_to_bytes(text).tolist()]


def test_tapping_does_not_change_the_logits_and_shows_every_value(model):
    tokens = bimamba.encode(b"<svg width='3'>\n")
    seen = {}

    def tap(name, value):
        seen.setdefault(name, []).append(tuple(value.shape))

    tapped = bimamba.sequence(model, tokens, tap)
    torch.testing.assert_close(tapped, bimamba.sequence(model, tokens), rtol=0, atol=2e-5)
    steps = tokens.shape[1]
    inner = (1, steps, 256)
    expected = {
        "residual": inner, "norm": inner, "in_proj": (1, steps, 512), "z": inner, "conv_in": inner,
        "conv": inner, "x": inner, "dt_rank": (1, steps, 16), "B": (1, steps, 16),
        "C": (1, steps, 16), "dt_raw": inner, "dt": inner, "v": (1, steps, 256, 16),
        "y_fwd": inner, "y_bwd": inner, "y": inner, "gate": inner, "gated": inner,
        "out_in": inner, "out": inner,
    }  # fmt: skip
    for i in range(6):
        for name, shape in expected.items():
            assert set(seen.pop(f"layers.{i}.{name}")) == {shape}, name
        assert seen.pop(f"layers.{i}.state") == [(1, 256, 16)] * 2 * steps
    assert seen == {"embed": [inner], "final_norm": [inner], "logits": [(1, steps, 35)]}


def test_a_tap_that_returns_a_tensor_replaces_the_value(model):
    tokens = bimamba.encode(b"replace me")

    def silence(name, value):
        return torch.zeros_like(value) if name.endswith(".out") else None

    embedded = model.weights["backbone.embeddings.weight"][bimamba.symbols(tokens)]
    weights = model.weights
    normed = torch.nn.functional.layer_norm(
        embedded, (256,), weights["backbone.norm_f.weight"], weights["backbone.norm_f.bias"], 1e-6
    )
    expected = normed @ weights["lm_head.weight"].T + weights["lm_head.bias"]
    torch.testing.assert_close(bimamba.sequence(model, tokens, silence), expected)


def test_counter_rotated_weights_with_the_online_rotation_keep_the_function(model):
    weights = dict(model.weights)
    for i in range(6):
        name = f"backbone.layers.{i}.mixer.out_proj.weight"
        weights[name] = weights[name] @ orthonormal_hadamard(256).T
    rotated = bimamba.BiMamba(model.config, weights, out_hadamard=True)
    tokens = bimamba.encode((STDLIB / "this.py").read_bytes()[:64])
    plain = bimamba.sequence(model, tokens)
    torch.testing.assert_close(bimamba.sequence(rotated, tokens), plain, rtol=0, atol=1e-3)
    unrotated = bimamba.BiMamba(model.config, weights)
    assert (bimamba.sequence(unrotated, tokens) - plain).abs().max() > 1


def test_linears_name_every_matrix_and_the_tap_of_its_input(model):
    seen = {}

    def tap(name, value):
        seen[name] = value.shape[-1]

    bimamba.sequence(model, bimamba.encode(b"abc"), tap)
    pairs = bimamba.linears(model)
    assert {name: seen[tap] for name, tap in pairs} == {
        name: tensor.shape[1]
        for name, tensor in model.weights.items()
        if tensor.dim() == 2 and "A_log" not in name and "embeddings" not in name
    }


def copied_package(monkeypatch, tmp_path):
    """Copy the package's data, and make the loader find the copy."""
    source = Path(importlib.util.find_spec("typeseg").origin).parent / "data"
    data = tmp_path / "typeseg" / "data"
    data.mkdir(parents=True)
    (tmp_path / "typeseg" / "__init__.py").touch()
    for name in ("manifest.json", "mamba_al.npz"):
        shutil.copy(source / name, data)
    spec = importlib.util.spec_from_file_location(
        "typeseg", tmp_path / "typeseg/__init__.py", submodule_search_locations=[str(data.parent)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return data


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed here. Install it: pip install 'typeseg"):
        typeseg.load_typeseg()


def test_a_damaged_archive_is_one_sentence(monkeypatch, tmp_path):
    data = copied_package(monkeypatch, tmp_path)
    typeseg.load_typeseg()
    whole = (data / "mamba_al.npz").read_bytes()
    (data / "mamba_al.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cannot be read as an npz archive .*Reinstall it"):
        typeseg.load_typeseg()


def test_pickled_arrays_are_never_read(monkeypatch, tmp_path):
    data = copied_package(monkeypatch, tmp_path)
    with np.load(data / "mamba_al.npz") as archive:
        arrays = dict(archive)
    arrays["LayerNorm_0__scale"] = arrays["LayerNorm_0__scale"].astype(object)
    np.savez(data / "mamba_al.npz", **arrays)
    with pytest.raises(UserError, match=r"cannot be read as an npz archive .*allow_pickle=False"):
        typeseg.load_typeseg()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m["mamba"].update(n_layers=7), "lacks backbone.layers.6.mixer.A_log, "),
        (lambda m: m["mamba"].update(n_layers=5), "which its manifest.json has no place for"),
        (lambda m: m["mamba"].update(d_state=8), r"has shape \[256, 16\], but .* \[256, 8\] as"),
        (lambda m: m.pop("labels"), "cannot be read as typeseg's manifest"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_sentence(monkeypatch, tmp_path, change, sentence):
    data = copied_package(monkeypatch, tmp_path)
    manifest = json.loads((data / "manifest.json").read_text())
    change(manifest)
    (data / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=sentence):
        typeseg.load_typeseg()


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        (torch.tensor([[257]]), "tokens run from 257 to 257, but the vocabulary has 257 entries"),
        (torch.tensor([[-1, 3]]), "tokens run from -1 to 3"),
        (torch.zeros(1, 0, dtype=torch.int64), r"tokens of shape \[1, 0\] are empty"),
        (torch.zeros(4, dtype=torch.int64), r"shape \[4\], but the model takes"),
        (torch.zeros(1, 4), "tokens are torch.float32"),
    ],
)
def test_wrong_tokens_are_one_sentence(model, tokens, sentence):
    with pytest.raises(UserError, match=sentence):
        bimamba.sequence(model, tokens)
