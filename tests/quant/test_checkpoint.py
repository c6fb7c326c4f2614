"""Model folders: dtypes, shards, tied heads; and each fault in its one sentence."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Mamba2ForCausalLM

from cosim.ir.errors import UserError
from quant import models
from quant.models import Mamba, Mamba2, load_model, mamba2
from quant.models.checkpoint import read_checkpoint
from tests.quant.hf_models import (
    assert_near,
    greedy_of,
    logits_of,
    random_mamba,
    random_mamba2,
    random_tokens,
)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
NORM = "backbone.norm_f.weight"


@pytest.fixture(scope="module")
def theirs():
    return random_mamba2("one group")


@pytest.fixture(scope="module")
def written(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    theirs.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """Return a copy of the saved model that a test may damage."""
    return shutil.copytree(written, tmp_path / "model")


@pytest.fixture
def shards(theirs, tmp_path):
    """Return the same model in shards, as transformers writes it."""
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    return tmp_path / "shards"


def rewrite(path, change):
    """Change a JSON file in place."""
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def retensor(path, change):
    """Change the tensors of a safetensors file in place."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def refused(folder):
    """Return the sentence with which a folder is refused."""
    with pytest.raises(UserError) as caught:
        load_model(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [random_mamba, random_mamba2])
def test_half_precision_folders_equal_transformers_weights_of_that_dtype(make, dtype, tmp_path):
    make("bias").to(dtype).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["dtype"] == str(dtype).removeprefix("torch.")
    ours = load_model(tmp_path)
    theirs = type(make("bias")).from_pretrained(tmp_path).float()
    assert all(tensor.dtype == torch.float32 for tensor in ours.weights.values())
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.weights[name], value), name
    tokens = random_tokens(theirs, batch=1, length=20)
    assert_near(models.sequence(ours, tokens), logits_of(theirs, tokens))


def test_the_configs_dtype_rounds_weights_stored_wider(theirs, folder):
    rewrite(folder / "config.json", lambda values: values.update(dtype="bfloat16"))
    rounded = Mamba2ForCausalLM.from_pretrained(folder)
    assert rounded.dtype == torch.bfloat16
    ours = load_model(folder)
    for name, value in rounded.state_dict().items():
        assert torch.equal(ours.weights[name], value.float()), name
    assert not torch.equal(ours.weights[NORM], theirs.state_dict()[NORM])


def test_the_older_name_of_dtype_is_read_too(folder):
    def rename(values):
        del values["dtype"]
        values["torch_dtype"] = "float16"

    rewrite(folder / "config.json", rename)
    weight = load_model(folder).weights[NORM]
    assert torch.equal(weight, weight.half().float())


def test_shards_equal_the_one_file(theirs, written, shards):
    assert len(list(shards.glob("*.safetensors"))) > 3
    assert not (shards / WEIGHTS).exists()
    whole, sharded = load_model(written), load_model(shards)
    assert whole.weights.keys() == sharded.weights.keys()
    for name, value in whole.weights.items():
        assert torch.equal(value, sharded.weights[name]), name
    prompt = random_tokens(theirs, batch=1, length=5)
    assert torch.equal(models.generate(sharded, prompt, 6), greedy_of(theirs, prompt, 6))


@pytest.mark.parametrize("kept", ["backbone.embeddings.weight", "lm_head.weight"])
def test_a_tied_head_shares_one_tensor_whichever_is_stored(kept, tmp_path):
    theirs = random_mamba2("tied")
    theirs.save_pretrained(tmp_path)

    def keep(tensors):
        value = tensors.pop("backbone.embeddings.weight", tensors.pop("lm_head.weight", None))
        tensors[kept] = value

    retensor(tmp_path / WEIGHTS, keep)
    ours = load_model(tmp_path)
    assert ours.weights["lm_head.weight"] is ours.weights["backbone.embeddings.weight"]
    tokens = random_tokens(theirs, batch=1, length=10)
    assert_near(models.sequence(ours, tokens), logits_of(theirs, tokens))


def test_weights_do_not_stay_mapped_to_the_file(folder):
    model = load_model(folder)
    before = model.weights[NORM].clone()
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(0)
    assert torch.equal(model.weights[NORM], before)


def test_tensors_are_read_only_when_asked_for(folder):
    retensor(folder / WEIGHTS, lambda tensors: tensors[NORM].fill_(torch.nan))
    tensors = read_checkpoint(folder).tensors
    assert torch.isfinite(tensors["backbone.layers.0.norm.weight"]).all()
    with pytest.raises(UserError, match="NaN"):
        tensors[NORM]
    assert len(tensors) == len(list(tensors))


def test_the_family_functions_find_the_model_by_its_type(tmp_path):
    theirs = random_mamba("untied")
    theirs.save_pretrained(tmp_path)
    ours = load_model(str(tmp_path))
    assert isinstance(ours, Mamba)
    tokens = random_tokens(theirs, batch=1, length=5)
    assert_near(models.sequence(ours, tokens), logits_of(theirs, tokens))
    state = models.initial_state(ours, 1)
    for t in range(5):
        logits, state = models.step(ours, tokens[:, t], state)
    assert_near(logits, logits_of(theirs, tokens)[:, -1])
    assert torch.equal(models.generate(ours, tokens, 3), greedy_of(theirs, tokens, 3))
    assert models.linears(ours)[0] == ("backbone.layers.0.mixer.in_proj.weight", "layers.0.norm")


def test_a_loaded_model_has_exactly_the_weights_its_config_asks_for(folder):
    model = load_model(folder)
    assert isinstance(model, Mamba2)
    shapes = {name: tuple(value.shape) for name, value in model.weights.items()}
    assert shapes == mamba2.weight_shapes(model.config)


# Faults, each in one sentence.


def test_no_such_folder(tmp_path):
    assert refused(tmp_path / "nothing").startswith(f"There is no model folder {tmp_path}/nothing.")


def test_a_file_for_a_folder(folder):
    assert f"{WEIGHTS} is a file, but a model is a folder" in refused(folder / WEIGHTS)


def test_no_config(folder):
    (folder / "config.json").unlink()
    assert "config.json, the model's configuration, is missing" in refused(folder)


@pytest.mark.parametrize("text", ['{"model_type": ', "\x00", "[" * 100_000])
def test_config_that_is_not_json(folder, text):
    (folder / "config.json").write_text(text)
    assert "config.json is not valid JSON (" in refused(folder)


def test_config_that_is_no_object(folder):
    (folder / "config.json").write_text("[1]")
    assert "config.json holds a JSON list, but must hold an object" in refused(folder)


@pytest.mark.parametrize("kind", ["opt", None, ["mamba"]])
def test_unknown_model_type(folder, kind):
    rewrite(folder / "config.json", lambda values: values.update(model_type=kind))
    sentence = refused(folder)
    assert f"model_type is {kind!r}, but the known ones are mamba, mamba2, " in sentence


def test_unknown_dtype(folder):
    rewrite(folder / "config.json", lambda values: values.update(dtype="float8_e4m3fn"))
    assert "dtype is 'float8_e4m3fn', but the known ones are float64, float32" in refused(folder)


def test_a_switch_that_cannot_be_honoured_names_the_file(folder):
    rewrite(folder / "config.json", lambda values: values.update(hidden_act="gelu"))
    assert f"{folder}/config.json: hidden_act is 'gelu'" in refused(folder)


def test_no_weights(folder):
    (folder / WEIGHTS).unlink()
    assert f"holds no weights: there is neither model.safetensors nor {INDEX}" in refused(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl"])
def test_pickles_are_never_read(folder, name):
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(b"never read")
    for path in (folder, folder / name):
        sentence = refused(path)
        assert f"{name}: this is a Python pickle" in sentence
        assert "Convert the weights to safetensors first" in sentence


def test_a_pickle_beside_safetensors_is_passed_over(folder):
    (folder / "training_args.bin").write_bytes(b"never read")
    load_model(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_safetensors(folder, kept):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:kept])
    sentence = refused(folder)
    assert "model.safetensors cannot be read as safetensors (" in sentence
    assert "It may be truncated; copy it again." in sentence


def test_missing_shard(shards):
    lost = sorted(shards.glob("*.safetensors"))[1]
    lost.unlink()
    assert re.search(rf"{lost.name} is missing: .* names \d+ shards", refused(shards))


def test_truncated_shard(shards):
    shard = sorted(shards.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-8])
    assert f"{shard.name} cannot be read as safetensors" in refused(shards)


@pytest.mark.parametrize("table", [None, [], {"a": 3}])
def test_index_without_a_table(shards, table):
    rewrite(shards / INDEX, lambda values: values.update(weight_map=table))
    assert "has no weight_map from tensor names to file names" in refused(shards)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "pytorch_model.bin"])
def test_index_that_leads_out_of_the_folder(shards, shard):
    rewrite(shards / INDEX, lambda values: values["weight_map"].update({NORM: shard}))
    assert f"names the shard {shard!r}, but a shard is a *.safetensors file" in refused(shards)


def test_index_that_promises_too_much(shards):
    def promise(values):
        values["weight_map"]["extra.weight"] = next(iter(values["weight_map"].values()))

    rewrite(shards / INDEX, promise)
    assert "promises extra.weight, but the shards do not hold it" in refused(shards)


def test_the_same_tensor_twice(folder):
    (folder / WEIGHTS).rename(folder / "a.safetensors")
    shutil.copy(folder / "a.safetensors", folder / "b.safetensors")
    assert re.search(r"is in .*a.safetensors and again in .*b.safetensors; keep", refused(folder))


def test_missing_tensor(folder):
    retensor(folder / WEIGHTS, lambda tensors: tensors.pop(NORM))
    assert f"lacks {NORM}, which its config.json asks for" in refused(folder)


def test_missing_tensors_are_counted(folder):
    rewrite(folder / "config.json", lambda values: values.update(num_hidden_layers=3))
    assert re.search(r"lacks backbone.layers.2.*, backbone.* and 5 more, which", refused(folder))


def test_untied_head_missing(folder):
    retensor(folder / WEIGHTS, lambda tensors: tensors.pop("lm_head.weight"))
    assert "lacks lm_head.weight, which" in refused(folder)


def test_tied_pair_wholly_missing(folder):
    def drop(tensors):
        del tensors["lm_head.weight"], tensors["backbone.embeddings.weight"]

    retensor(folder / WEIGHTS, drop)
    rewrite(folder / "config.json", lambda values: values.update(tie_word_embeddings=True))
    assert "lacks backbone.embeddings.weight, lm_head.weight, which" in refused(folder)


def test_unexpected_tensors_are_named(folder):
    extra = {"backbone.layers.0.mlp.weight": torch.ones(2), "x": torch.ones(1)}
    retensor(folder / WEIGHTS, lambda tensors: tensors.update(extra))
    assert "holds backbone.layers.0.mlp.weight, x, which a model of its config" in refused(folder)


def test_wrong_shape_names_both(folder):
    retensor(folder / WEIGHTS, lambda tensors: tensors.update({NORM: torch.ones(25)}))
    assert f"{NORM} has shape [25], but config.json asks for [24]" in refused(folder)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_counted(folder, bad):
    retensor(folder / WEIGHTS, lambda tensors: tensors[NORM][3:6].fill_(bad))
    assert f"{NORM} holds 3 of 24 values that are NaN or infinite (stored as F32" in refused(folder)


def test_weights_too_large_for_the_configs_dtype(folder):
    retensor(folder / WEIGHTS, lambda tensors: tensors[NORM][0].fill_(1e5))
    load_model(folder)
    rewrite(folder / "config.json", lambda values: values.update(dtype="float16"))
    assert "holds 1 of 24 values that are NaN or infinite (stored as F32, used as float16)" in (
        refused(folder)
    )


def test_weights_already_quantised(folder):
    integers = {NORM: torch.ones(24, dtype=torch.int8)}
    retensor(folder / WEIGHTS, lambda tensors: tensors.update(integers))
    assert f"{NORM} is stored as I8, but only F64, F32, F16, BF16 are read" in refused(folder)
