"""BOS tokens, the cache key, and errors of the reader."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import sentence, sentences, tiny_tokenizer

from keyneurons.activations import partial
from keyneurons.activations.capture import Capture
from keyneurons.activations.store import ActivationStore
from keyneurons.models.folders import ModelFolder
from keyneurons.models.language_model import LanguageModel

TEXTS = sentences()


def left_in(store):
    """Files left on the disk by a failure, except locks."""
    return [path.name for path in store.folder.rglob("*") if path.suffix != ".lock"]


@pytest.mark.parametrize(("kind", "token"), [("llama", "<s>"), ("bert", "[CLS]")])
def test_auto_bos_is_the_tokenizers(reader, kind, token):
    read = reader(kind)
    assert read.key(TEXTS)["bos"] == tiny_tokenizer(kind == "bert").convert_tokens_to_ids(token) == 1


def test_bert_sentences_end_as_it_was_trained(reader):
    encoded = reader("bert").encode(TEXTS)
    assert {e.ids[-1] for e in encoded} == {tiny_tokenizer(True).sep_token_id}
    assert reader("llama").encode(TEXTS)[0].ids[-1] != tiny_tokenizer().eos_token_id


def test_bos_may_be_any_token_or_none(reader):
    assert reader(bos="<other>").key(TEXTS)["bos"] == 3
    assert reader(bos=None).key(TEXTS)["bos"] is None
    with pytest.raises(ValueError, match="model.bos='<nothing>' is not in the vocabulary of tiny"):
        reader(bos="<nothing>")(TEXTS, "x")


def test_a_tokenizer_without_bos_says_so(reader, tiny):
    model = tiny()
    model.tokenizer = copy.deepcopy(model.tokenizer)  # models of one folder share a tokenizer
    model.tokenizer.bos_token = None
    with pytest.raises(ValueError, match="has no BOS token; set model.bos=TOKEN"):
        reader(model=model)(TEXTS, "x")
    reader(model=model, bos=None)(TEXTS, "x")


def test_bos_changes_what_is_read(reader):
    one, other, none = (reader(bos=bos)(TEXTS, "x")[2] for bos in ("auto", "<other>", None))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, none)


def test_prediction_needs_a_model_that_predicts(reader):
    with pytest.raises(ValueError, match="read_at=prediction needs a model that predicts the next token; tiny"):
        reader("bert", read_at="prediction")
    with pytest.raises(ValueError, match="sentence s0: .*needs a BOS"):
        reader(read_at="prediction", bos=None)(TEXTS, "x")


def test_a_sentence_may_be_as_long_as_the_model_takes(reader):
    read = reader()
    limit = read.model.config.max_position_embeddings
    assert len(read([sentence("The" + " the" * (limit - 2))], "x")[0]) == limit - 1
    with pytest.raises(ValueError, match=f"sentence s1 has {limit + 1} tokens; tiny takes at most {limit}"):
        read([sentence("The" + " the" * (limit - 1))], "x")
    assert len(left_in(read.store)) == 1 + len(("key.json", "0.npy", "0.json", "2.npy", "2.json"))


def test_rows_stand_in_dataset_order(reader):
    read = reader(dtype="float32", batch_tokens=40)
    whole = read(TEXTS, "x")[2]
    alone = np.concatenate([read([one], "x")[2] for one in TEXTS])
    np.testing.assert_allclose(whole, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "cause"), [(1e30, "too large for float16; use activations.dtype=float32"), (np.nan, "not finite")]
)
def test_non_finite_activations_name_layer_and_neuron(reader, value, cause):
    read = reader(site="mlp", layers=(0, 1))
    with torch.no_grad():
        read.model.network.layers[1].mlp.up_proj.weight[7] *= value
    with pytest.raises(
        ValueError, match=rf"activation of mlp layer 1 neuron 7 is {cause} \(model {read.model.files.path}\)$"
    ):
        read(TEXTS, "x")
    assert left_in(read.store) == []


def test_what_is_too_large_for_float16_fits_float32(reader):
    read = reader(site="mlp", layers=(1,), dtype="float32")
    with torch.no_grad():
        read.model.network.layers[1].mlp.up_proj.weight[7] *= 1e6
    assert np.abs(read(TEXTS, "x")[1][:, 7]).max() > 65504


def test_a_late_failure_leaves_other_arrays_alone(reader):
    read = reader(batch_tokens=1)
    before = read(TEXTS, "x")
    shortest = min(TEXTS, key=lambda s: len(s.text))
    with torch.no_grad():
        read.model.network.embed_tokens.weight[read.model.tokenizer(shortest.text)["input_ids"][-3]] = np.nan
    with pytest.raises(ValueError, match="residual layer 1 neuron 0 is not finite"):
        replace(read, layers=(1,))(TEXTS, "x")
    assert all(np.array_equal(array, read(TEXTS, "x")[layer]) for layer, array in before.items())
    assert not [name for name in left_in(read.store) if name.startswith("partial")]


def test_a_config_that_lies_about_the_width(reader):
    read = reader(site="mlp")
    _ = read.model.network
    read.model.config.intermediate_size = 7
    with pytest.raises(ValueError, match="mlp of layer 0 has 48 neurons, but the model's config says 7"):
        read(TEXTS, "x")


def changed_words(**changes):
    return [replace(s, words=tuple(replace(w, **changes) for w in s.words)) for s in TEXTS]


@pytest.mark.parametrize(
    "changes",
    [
        {"site": "mlp"},
        {"layers": (1,)},
        {"batch_tokens": 7},
        {"model": {"device": "auto"}},
        {"model": {"dtype": "float32"}},
        {"texts": changed_words(upos="Y", xpos="Z", feats={"a": "b"}, form="?")},
        {"texts": [replace(s, id="x") for s in TEXTS]},
    ],
    ids=str,
)
def test_the_key_does_not_depend_on(reader, tiny, changes, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    other = dict(changes)
    texts = other.pop("texts", TEXTS)
    if "model" in other:
        model = tiny()
        other["model"] = LanguageModel(model.files, **{"device": "cpu", **other["model"]})
    assert reader(**other).key(texts) == reader().key(TEXTS)
    assert reader().store.entry(reader(**other).key(texts)).folder == reader().store.entry(reader().key(TEXTS)).folder


def test_the_key_depends_on_all_that_activations_depend_on(reader, tiny, tmp_path):
    files = tiny().files
    own = {"blocks": "layers", "mlp": "mlp.down_proj", "mlp_gate": "mlp.act_fn", "attention": "mlp.gate_proj"}
    retokenized = shutil.copytree(files.path, tmp_path / "retokenized")
    with (retokenized / "tokenizer_config.json").open("a") as file:
        file.write("\n")

    def model(folder=files, **options):
        return LanguageModel(folder, **{"device": "cpu", **options})

    keys = [
        reader().key(TEXTS),
        reader(bos="<other>").key(TEXTS),
        reader(bos=None).key(TEXTS),
        reader(read_at="prediction").key(TEXTS),
        reader(pooling="mean").key(TEXTS),
        reader(pooling="first").key(TEXTS),
        reader(dtype="float32").key(TEXTS),
        reader(model=model(random_weights=0)).key(TEXTS),
        reader(model=model(random_weights=1)).key(TEXTS),
        reader(model=model(dtype="bfloat16")).key(TEXTS),
        reader(model=model(modules=own)).key(TEXTS),
        reader(model=model(ModelFolder(files.path, "other", files.revision))).key(TEXTS),
        reader(model=model(ModelFolder(files.path, files.id, "other"))).key(TEXTS),
        reader(model=model(ModelFolder(retokenized, files.id, files.revision))).key(TEXTS),
        reader(model=tiny("gpt2")).key(TEXTS),
        reader().key(TEXTS[:-1]),
        reader().key(TEXTS[::-1]),
        reader().key(changed_words(start=0)),
        reader().key([replace(TEXTS[0], text=TEXTS[0].text + " "), *TEXTS[1:]]),
    ]
    store = reader().store
    assert len({store.entry(key).folder for key in keys}) == len(keys)
    # at the prediction there is a single token to read, so pooling has no effect
    assert reader(read_at="prediction", pooling="mean").key(TEXTS) == reader(read_at="prediction").key(TEXTS)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_token_counts_are_those_of_the_tokenizer_whatever_is_read(reader, kind, monkeypatch):
    monkeypatch.setattr(LanguageModel, "network", property(lambda self: pytest.fail("the model was loaded")))
    counts = reader(kind).token_counts(TEXTS)
    tokenizer = tiny_tokenizer(kind == "bert")
    # this tokenizer never merges across a space, so words with a leading space can be encoded alone
    spaced = [sentence(" ".join(word.form for word in s.words), name=s.id) for s in (*TEXTS, sentence("a wolfhound"))]
    alone = [tokenizer.tokenize(" " * (i > 0) + word.form) for s in spaced for i, word in enumerate(s.words)]
    by_hand = [len([token for token in tokens if token != "Ġ"]) for tokens in alone]
    assert reader(kind).token_counts(spaced).tolist() == by_hand
    assert {1, 2} < set(by_hand)
    assert counts.dtype == np.int64
    assert len(counts) == sum(len(s.words) for s in TEXTS)
    for options in ({"pooling": "first"}, {"pooling": "mean"}, {"bos": None}, {"site": "mlp", "layers": (1,)}):
        assert np.array_equal(reader(kind, **options).token_counts(TEXTS), counts)
    if kind == "llama":
        assert np.array_equal(reader(read_at="prediction", bos=None).token_counts(TEXTS), counts)


def test_token_counts_of_shared_tokens_and_lost_words(reader):
    read = reader()
    can_not = sentence("They cannot see", (0, 4), (5, 8), (8, 11), (12, 15))
    assert read.token_counts([can_not])[1:].tolist() == [1, 1, 1]
    assert read.token_counts([]).tolist() == []
    with pytest.raises(ValueError, match="sentence s5: no token overlaps the word ''"):
        read.token_counts([sentence("The", (0, 3), (3, 3), name="s5")])


def test_module_paths_that_are_not_there_reserve_no_space(reader, tiny, tmp_path):
    wrong = {"blocks": "layers", "mlp": "mlp.nope", "mlp_gate": "mlp.act_fn", "attention": "self_attn.o_proj"}
    with pytest.raises(KeyError, match="nope"):
        reader(model=tiny(modules=wrong), site="mlp")(TEXTS, "train")
    assert not list((tmp_path / "store").rglob("*.npy"))


def test_sites_are_read_in_one_pass(reader, passes, tmp_path):
    reader(prefetch={"mlp": (1, 3), "residual": (3,)}, batch_tokens=30)(TEXTS, "x")
    n = len(passes)
    for site, layers in (("mlp", (1, 3)), ("residual", (0, 2, 3))):
        beside = reader(site=site, layers=layers)(TEXTS, "x")
        assert len(passes) == n
        alone = reader(site=site, layers=layers, batch_tokens=30, store=ActivationStore(tmp_path / site))(TEXTS, "x")
        for layer in layers:
            assert np.array_equal(beside[layer], alone[layer])
        n = len(passes)


def test_a_site_that_was_interrupted_is_finished_with_another(reader, tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "CHECKPOINT_SECONDS", -1)
    run, calls = Capture.__call__, []

    def interrupted(self, inputs, take):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(self, inputs, take)

    monkeypatch.setattr(Capture, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reader(site="mlp", batch_tokens=15)(TEXTS, "x")
    residual = reader(prefetch={"mlp": (0, 2)}, batch_tokens=15)(TEXTS, "x")
    n = len(calls)
    mlp = reader(site="mlp", batch_tokens=15)(TEXTS, "x")
    assert len(calls) == n > 6
    for site, found in (("residual", residual), ("mlp", mlp)):
        alone = reader(site=site, batch_tokens=15, store=ActivationStore(tmp_path / "other"))(TEXTS, "x")
        assert all(np.array_equal(found[layer], alone[layer]) for layer in (0, 2))
