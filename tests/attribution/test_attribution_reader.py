"""Cached attributions equal those of the model; the cache key has everything they depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from attributing import TEXTS, predicted
from transformers import AutoModelForCausalLM

from keyneurons.activations import partial
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.attribution.integral import Quadrature
from keyneurons.attribution.method import GradientXActivation, IntegratedGradients
from keyneurons.attribution.passes import Attributor
from keyneurons.attribution.paths import GradientPath, JointPath, LayerPath
from keyneurons.attribution.reader import AttributionReader
from keyneurons.models.language_model import LanguageModel
from keyneurons.records import LabelledWords

NAMES = ("long", "short")
FORMS = [word.form.lower() for text in TEXTS for word in text.words]
ROWS = np.array([row for row, form in enumerate(FORMS) if form.isalpha()])
WORDS = LabelledWords(ROWS, np.array([int(len(FORMS[r]) < 4) for r in ROWS]), tuple(FORMS[r] for r in ROWS))
PLACES = [(s, w) for s, text in enumerate(TEXTS) for w in range(len(text.words))]  # by row
DRAWN = 5  # of each of two tags
METHODS = {
    "layer": IntegratedGradients(words_per_tag=DRAWN, steps=4),
    "joint": IntegratedGradients(words_per_tag=DRAWN, steps=4, path="joint"),
    "gradient": GradientXActivation(words_per_tag=DRAWN),
}
MB = 2**20


class Unloadable(LanguageModel):
    """A model that raises if its weights are loaded."""

    network = property(lambda self: pytest.fail("the model was loaded"))
    predictor = property(lambda self: pytest.fail("the model was loaded"))


@pytest.fixture
def reader(llama, tmp_path):
    """Reads the feed-forward neurons of layers 0 and 2 by default."""

    def make(method="layer", *, memory=MB // 4, model=None, **options):
        store = ActivationStore(tmp_path / "store")
        chosen = {"site": "mlp", "layers": (0, 2), "read_at": "prediction", "dtype": "float32", **options}
        read = ActivationReader(model or llama, store=store, **chosen)
        return AttributionReader(read, METHODS[method] if isinstance(method, str) else method, memory)

    return make


@pytest.fixture
def unloadable(llama):
    return Unloadable(llama.files, device="cpu")


@pytest.fixture
def passes(monkeypatch):
    """List of the number of words in every attributed batch."""
    seen = []
    for kind in (LayerPath, JointPath, GradientPath):

        def counted(self, differentiate, recording, *args, run=kind.__call__):
            seen.append(len(recording.final))
            return run(self, differentiate, recording, *args)

        monkeypatch.setattr(kind, "__call__", counted)
    return seen


def drawn(reader, seed=0):
    return reader.sample(TEXTS, WORDS, NAMES, seed)[0]


def folder_of(reader, targets=None, words=WORDS):
    return reader.read.store.entry(reader.key(TEXTS, drawn(reader) if targets is None else targets, words)).folder


def copies_of(arrays):
    return {layer: np.array(array) for layer, array in arrays.items()}


def arrays_of(reader, targets=None, words=WORDS):
    return copies_of(reader(TEXTS, drawn(reader) if targets is None else targets, words))


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(array, other[layer]) for layer, array in one.items())


def files_in(reader):
    return [path.name for path in reader.read.store.folder.rglob("*") if path.suffix != ".lock"]


def test_the_sample_has_only_attributable_words(reader):
    read = reader()
    targets, position = read.sample(TEXTS, WORDS, NAMES, 0)
    assert np.bincount(WORDS.tags[position]).tolist() == [DRAWN, DRAWN]
    assert np.array_equal(WORDS.rows[position], targets.rows)
    for row, sentence, at, token in zip(targets.rows, targets.sentence, targets.position, targets.token, strict=True):
        assert PLACES[row][0] == sentence
        assert PLACES[row][1] >= read.method.min_context
        ids = [1, *read.read.model.tokenizer(TEXTS[sentence].text)["input_ids"]]
        assert ids[at + 1] == token
    assert np.array_equal(read.sample(TEXTS, WORDS, NAMES, 0)[1], position)
    assert not np.array_equal(read.sample(TEXTS, WORDS, NAMES, 1)[1], position)


def test_a_sample_needs_no_model(reader, unloadable):
    assert np.array_equal(drawn(reader(model=unloadable)).rows, drawn(reader()).rows)


@pytest.mark.parametrize(
    ("method", "target"), [("layer", "probability"), ("joint", "log_probability"), ("gradient", "log_probability")]
)
def test_cached_attributions_belong_to_their_words(reader, llama, method, target):
    read = reader(replace(METHODS[method], target=target))
    targets = drawn(read)
    result, model = read(TEXTS, targets, WORDS), llama
    along = {"layer": LayerPath, "joint": JointPath}.get(method, lambda _: GradientPath())(
        Quadrature("gauss_legendre", 4)
    )
    for i, row in enumerate(targets.rows):
        word = predicted(model, layers=(0, 2), words=[PLACES[row]])
        alone = along(
            word.differentiator(target), word.recording, word.tokens, dict.fromkeys((0, 2), torch.zeros(48)), 5
        )
        for layer, array in result.items():
            assert array.shape == (2 * DRAWN, 48 + (method != "gradient"))
            assert array.dtype == np.float32
            expected = alone.by_layer[layer][0]
            np.testing.assert_allclose(array[i, :48], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
            if alone.change is not None:
                np.testing.assert_allclose(array[i, 48], alone.change[layer][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_second_call_loads_no_model(reader, unloadable, method):
    first = arrays_of(reader(method))
    again = arrays_of(reader(method, model=unloadable, memory=64 * MB, batch_tokens=3))
    assert equal(first, again)


def test_a_damaged_array_is_recomputed(reader, passes):
    read = reader()
    targets = drawn(read)
    before = arrays_of(read, targets)
    array = folder_of(read, targets) / "mlp.2.npy"
    array.write_bytes(array.read_bytes()[:-4] + b"\1\2\3\4")
    passes.clear()
    again = arrays_of(read, targets)
    assert np.array_equal(again[0], before[0])
    np.testing.assert_allclose(again[2], before[2], rtol=0, atol=1e-5 * np.abs(before[2]).max())  # in other batches
    assert sum(passes) == 2 * DRAWN


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_equals_the_stored_attributions(reader, method):
    read = reader(method)
    targets = drawn(read)
    streamed, seen = {layer: np.full((2 * DRAWN, read._columns), np.nan, np.float32) for layer in (0, 2)}, []
    for rows, values in read.stream(TEXTS, targets, WORDS):
        seen.append(len(rows))
        for layer, value in values.items():
            streamed[layer][rows] = value.numpy()
    assert len(seen) > 1
    assert files_in(read) == []
    assert equal(streamed, arrays_of(read, targets))


def test_the_longest_sentences_come_first(reader):
    read = reader()
    targets = drawn(read)
    order = np.concatenate([rows for rows, _ in read.stream(TEXTS, targets, WORDS)])
    lengths = [len(read.encoded(TEXTS)[s].ids) for s in targets.sentence[order]]
    assert lengths == sorted(lengths, reverse=True)
    assert sorted(order.tolist()) == list(range(2 * DRAWN))


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_attribution_resumes(reader, tiny, method, passes, monkeypatch):
    monkeypatch.setattr(partial, "CHECKPOINT_SECONDS", -1.0)
    memory = 160_000 if method == "gradient" else MB // 4
    read = reader(method, memory=memory)
    targets = drawn(read)
    other = replace(read, read=replace(read.read, store=ActivationStore(read.read.store.folder / "other")))
    whole = arrays_of(other, targets)
    n_batches = len(passes)
    assert n_batches > 3
    passes.clear()
    run = Attributor.passes

    def interrupted(self, *args, **kwargs):
        for i, one in enumerate(run(self, *args, **kwargs)):
            if i == 2:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(Attributor, "passes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(TEXTS, targets, WORDS)
    monkeypatch.setattr(Attributor, "passes", run)
    passes.clear()
    assert not list(folder_of(read, targets).glob("mlp.*.npy"))
    later = reader(method, memory=memory, model=tiny())
    assert equal(arrays_of(later, targets), whole)
    assert len(passes) == n_batches - 2
    assert not list(folder_of(read, targets).glob("partial-*"))


def test_an_interrupted_attribution_restarts_with_another_plan(reader, passes, monkeypatch):
    monkeypatch.setattr(partial, "CHECKPOINT_SECONDS", -1.0)
    read, other = reader(memory=MB // 4), reader(memory=MB // 2)
    targets = drawn(read)
    run = Attributor.passes

    def interrupted(self, *args, **kwargs):
        yield next(iter(run(self, *args, **kwargs)))
        raise KeyboardInterrupt

    monkeypatch.setattr(Attributor, "passes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(TEXTS, targets, WORDS)
    monkeypatch.setattr(Attributor, "passes", run)
    passes.clear()
    arrays_of(other, targets)
    assert sum(passes) == 2 * DRAWN


def test_more_layers_add_arrays_only(reader, passes):
    one, all_layers = reader(layers=(2,)), reader(layers=(0, 1, 2, 3))
    targets = drawn(one)
    first = arrays_of(one, targets)
    assert folder_of(one) == folder_of(all_layers)
    manifest = folder_of(one) / "mlp.2.json"
    written = manifest.stat().st_mtime_ns
    every = arrays_of(all_layers, targets)
    assert np.array_equal(every[2], first[2])
    assert set(every) == {0, 1, 2, 3}
    assert manifest.stat().st_mtime_ns == written
    passes.clear()
    arrays_of(reader(layers=(3, 1)), targets)
    assert passes == []


def test_jointly_scaled_layers_are_cached_together(reader):
    two, three = reader("joint"), reader("joint", layers=(0, 1, 2))
    assert folder_of(two) != folder_of(three)
    assert not np.allclose(arrays_of(two)[2], arrays_of(three)[2], rtol=0.01, atol=0)


def test_a_lost_array_of_a_joint_path_recomputes_all_layers(reader, passes):
    read = reader("joint")
    targets = drawn(read)
    before = arrays_of(read, targets)
    (folder_of(read) / "mlp.0.npy").unlink()
    assert equal(arrays_of(read, targets), before)


def mean_by_hand(model, layer, rows):
    """Mean feed-forward activations at predicting positions, one forward pass per sentence."""
    plain = AutoModelForCausalLM.from_pretrained(model.files.path).eval()
    kept = []
    plain.model.layers[layer].mlp.down_proj.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0][0]))
    total = torch.zeros(48, dtype=torch.float64)
    for sentence in range(len(TEXTS)):
        here = [PLACES[row] for row in rows if PLACES[row][0] == sentence]
        one = predicted(model, words=here)
        with torch.no_grad():
            plain(one.inputs["input_ids"])
        total += kept[-1][one.positions.token].double().sum(0)
    return (total / len(rows)).float()


@pytest.mark.parametrize("method", METHODS)
def test_the_mean_over_the_labelled_words_is_the_baseline(reader, llama, method):
    read = reader(replace(METHODS[method], baseline="mean"))
    targets, model = drawn(read), llama
    start = {layer: mean_by_hand(model, layer, WORDS.rows) for layer in (0, 2)}
    result, from_zero = arrays_of(read, targets), arrays_of(reader(method), targets)
    word = predicted(model, layers=(0, 2), words=[PLACES[row] for row in targets.rows])
    along = read.method.along
    expected = along(word.differentiator("probability"), word.recording, word.tokens, start, 5).by_layer
    for layer in (0, 2):
        largest = float(expected[layer].abs().max())
        np.testing.assert_allclose(result[layer][:, :48], expected[layer], rtol=0, atol=1e-5 * largest)
        assert np.abs(from_zero[layer] - result[layer]).max() > 0.01 * largest


def test_the_key_has_everything_that_determines_attributions(reader, tiny):
    plain, targets = reader(), drawn(reader())
    fewer = LabelledWords(WORDS.rows[:-1], WORDS.tags[:-1], WORDS.forms[:-1])

    def changed(words=WORDS, drawn_words=None, method="layer", options=None, **changes):
        read = reader(replace(METHODS[method], **changes), **(options or {}))
        return folder_of(read, targets if drawn_words is None else drawn_words, words)

    folders = [
        changed(),
        changed(steps=5),
        changed(rule="left"),
        changed(rule="right"),
        changed(method="joint"),
        changed(method="joint", options={"layers": (0, 1, 2)}),
        changed(method="gradient"),
        changed(method="gradient", target="log_probability"),
        changed(target="log_probability"),
        changed(baseline="mean"),
        changed(baseline="mean", words=fewer),
        changed(drawn_words=targets.of(np.arange(5))),
        changed(drawn_words=targets.of(np.arange(len(targets.rows))[::-1].copy())),
        changed(drawn_words=drawn(plain, 1)),
        changed(options={"bos": "<other>"}),
        changed(options={"model": tiny("gpt2")}),
        changed(options={"model": tiny(random_weights=0)}),
        changed(options={"model": tiny(random_weights=1)}),
        changed(options={"model": tiny(dtype="bfloat16")}),
        plain.read.store.entry(plain.read.key(TEXTS)).folder,  # the key of the activations
    ]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize(
    "options",
    [{"memory": 9 * MB}, {"layers": (1,)}, {"site": "attention"}, {"batch_tokens": 7}, {"dtype": "float16"}],
    ids=str,
)
def test_the_key_does_not_depend_on(reader, options):
    targets = drawn(reader())
    assert folder_of(reader(**options), targets) == folder_of(reader(), targets)
    # with a zero baseline, neither other labels nor the selection of key neurons matter
    fewer = LabelledWords(WORDS.rows[:-1], WORDS.tags[:-1], WORDS.forms[:-1])
    assert folder_of(reader(), targets, fewer) == folder_of(reader(), targets)
    other = replace(METHODS["layer"], share=0.2, signed=False, min_cramers_v=0.5)
    assert folder_of(reader(other), targets) == folder_of(reader(), targets)


# the mean of rounded activations is a different baseline
def test_half_precision_changes_the_mean_baseline(reader):
    method = replace(METHODS["gradient"], baseline="mean")
    targets = drawn(reader(method))
    full, half = (reader(method, dtype=dtype) for dtype in ("float32", "float16"))
    folders = folder_of(full, targets), folder_of(half, targets)
    values = [next(iter(each.stream(TEXTS, targets, WORDS)))[1][0] for each in (full, half)]
    assert not torch.equal(*values)
    assert folders[0] != folders[1]


def probabilities(model):
    """By row, the probability of every word's first token, from the logits of the whole model."""
    plain = AutoModelForCausalLM.from_pretrained(model.files.path).eval()
    result = []
    for sentence, text in enumerate(TEXTS):
        one = predicted(model, words=[(sentence, word) for word in range(len(text.words))])
        with torch.no_grad():
            logits = plain(one.inputs["input_ids"]).logits[0, one.positions.token]
        result += logits.softmax(1)[torch.arange(len(text.words)), one.tokens].tolist()
    return np.array(result)


def test_unlikely_words_are_excluded(reader, llama, unloadable):
    likely = probabilities(llama)
    rows = drawn(reader(replace(METHODS["layer"], min_context=1, words_per_tag=30))).rows
    threshold = float(np.median(likely[rows]))
    choosy = replace(METHODS["layer"], min_context=1, words_per_tag=5, min_probability=threshold)
    targets, position = reader(choosy).sample(TEXTS, WORDS, NAMES, 0)
    assert (likely[targets.rows] >= threshold * (1 - 1e-4)).all()
    assert np.bincount(WORDS.tags[position]).tolist() == [5, 5]
    # without a threshold some would be below it
    plain = drawn(reader(replace(choosy, min_probability=0.0)))
    assert (likely[plain.rows] < threshold).any()
    # only words above it can be drawn
    can = [i for i, row in enumerate(WORDS.rows) if row in all_predictable(reader()) and likely[row] >= threshold]
    every = reader(replace(choosy, words_per_tag=1000)).sample(TEXTS, WORDS, NAMES, 0)[1]
    counts = np.bincount(WORDS.tags[can])
    assert np.bincount(WORDS.tags[every]).tolist() == [counts.min()] * 2
    assert set(every.tolist()) <= set(can)
    # repeated calls and other thresholds do not run the model
    assert np.array_equal(drawn(reader(choosy, model=unloadable)).rows, targets.rows)
    drawn(reader(replace(choosy, min_probability=threshold / 2), model=unloadable))


def all_predictable(reader):
    from keyneurons.attribution.targets import predictable

    return set(predictable(reader.encoded(TEXTS), WORDS.rows, 1).rows.tolist())


def test_a_tag_without_attributable_words_is_named(reader):
    for threshold in (0.0, 0.1):
        none = replace(METHODS["layer"], min_context=99, min_probability=threshold)
        with pytest.raises(ValueError, match="^tag long needs at least 2 attributable words, got 0"):
            drawn(reader(none))


def test_a_non_finite_attribution_names_layer_and_neuron(reader):
    read = reader("gradient")
    targets, attributor = drawn(read), read._attributor
    start = {layer: torch.zeros(48) for layer in (0, 2)}
    start[2][7] = float("nan")
    encoded = read.encoded(TEXTS)
    plan = attributor.plan(encoded, targets, (0, 2))
    with pytest.raises(ValueError, match="^attribution to mlp layer 2 neuron 7 is not finite$"):
        list(attributor.passes(encoded, targets, (0, 2), start, plan))


def test_a_non_finite_probability_leaves_no_files(reader, tiny):
    read = reader(model=tiny())
    targets = drawn(read)
    # of a token that occurs only in the shortest sentence, which is last
    sentences = [set(e.ids) for e in read.encoded(TEXTS)]
    last = min(set(targets.sentence.tolist()), key=lambda s: len(read.encoded(TEXTS)[s].ids))
    rare = sentences[last] - set().union(*(ids for s, ids in enumerate(sentences) if s != last))
    with torch.no_grad():
        read.read.model.predictor.base.embed_tokens.weight[list(rare)] = float("inf")
    with pytest.raises(ValueError, match="^attribution to mlp layer 0 neuron 0 is not finite$"):
        read(TEXTS, targets, WORDS)
    assert files_in(read) == []


# every word is nan: the error must not be about running block by block
def test_nan_weights_are_reported(reader, tiny):
    read = reader(model=tiny())
    with torch.no_grad():
        read.read.model.predictor.base.layers[1].mlp.up_proj.weight[7] = float("inf")
    with pytest.raises(ValueError, match="not finite"):
        read(TEXTS, drawn(read), WORDS)


def test_a_model_that_cannot_be_run_block_by_block_is_rejected(reader, tiny):
    own = {"blocks": "layers", "mlp": "mlp.down_proj", "mlp_gate": "mlp.act_fn", "attention": "self_attn.o_proj"}
    wrong = tiny(modules={**own, "norm": "layers.1.input_layernorm"})
    with torch.no_grad():
        wrong.predictor.norm.weight *= 3
    read = reader(model=wrong)
    targets = drawn(read)
    with pytest.raises(ValueError, match=r"tiny cannot be run block by block: log-probability .* instead") as error:
        read(TEXTS, targets, WORDS)
    assert "\n" not in str(error.value)
    right = reader(model=tiny(modules={**own, "norm": "norm"}))
    assert equal(arrays_of(right), arrays_of(reader()))


def test_too_little_memory_leaves_no_files(reader):
    read = reader(memory=1000)
    with pytest.raises(ValueError, match="activations.memory_mb must be at least 1 for one word, got 0"):
        read(TEXTS, drawn(read), WORDS)
    assert files_in(read) == []


@pytest.mark.parametrize("method", ["layer", "joint"])
@pytest.mark.parametrize("memory", [250_000, 8 * MB])
def test_attributions_do_not_depend_on_the_memory(reader, method, memory):
    read, usual = reader(method, memory=memory), reader(method)
    targets = drawn(read).of(np.arange(4))
    (rows, values), (usual_rows, usual_values) = stream(read, targets), stream(usual, targets)
    for layer in (0, 2):
        one, other = values[layer][np.argsort(rows)], usual_values[layer][np.argsort(usual_rows)]
        largest = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * largest)


def stream(reader, targets):
    """All batches combined: positions of targets, and by layer their attributions."""
    rows, values = zip(*reader.stream(TEXTS, targets, WORDS), strict=True)
    return np.concatenate(rows), {layer: torch.cat([each[layer] for each in values]) for layer in values[0]}


def test_attribution_needs_activations_at_predictions(reader):
    with pytest.raises(ValueError, match="^attribution needs read_at=prediction, got read_at=word$"):
        reader(read_at="word")


@pytest.mark.parametrize(("kind", "site"), [("gpt2", "attention"), ("gpt_neox", "mlp_gate"), ("qwen3", "mlp_gate")])
def test_other_families_and_sites(reader, tiny, kind, site):
    read = reader(model=tiny(kind), site=site, method=replace(METHODS["layer"], steps=20))
    for array in read(TEXTS, drawn(read), WORDS).values():
        assert array.shape[1] == read.read.model.width(site) + 1
        np.testing.assert_allclose(array[:, :-1].sum(1), array[:, -1], rtol=0, atol=1e-4 * np.abs(array[:, -1]).max())
