"""Lesions of neurons planted for a tag hurt its words only; other lesions have no effect."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_model import (
    LAYER,
    NAMES,
    NEURONS,
    TRIGGERS,
    WORDS,
    labels_of,
    save_planted_model,
    sets_of,
    treebank,
)

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.data.digests import TreebankDigests
from keyneurons.lesion.modes import MODES, Lesion, Means
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.dataset import LabelledText
from keyneurons.pipeline.key_neurons import KeyNeurons
from keyneurons.pipeline.lesions.control_sets import CONTROL_FAMILIES, ControlFamily, NeuronStatistics
from keyneurons.pipeline.lesions.plan import LesionStudy
from keyneurons.pipeline.lesions.readouts import tags_of_tokens
from keyneurons.pipeline.lesions.results import LesionResult
from keyneurons.pipeline.lesions.study import study_lesions
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import KeyNeuron, Labels, NeuronSets, Scores

ZERO = LesionStudy(
    Lesion("zero"),
    tags="all",
    where="everywhere",
    shares=(0.5, 1.0),
    families=("random", "variance", "frequency", "lowest"),
    sets=20,
    further_sets=0,
    exceedances=3,
    split="test",
    sentences=40,
    bootstraps=200,
    permutations=1000,
    alpha=0.05,
    batch_tokens=100,
    pass_tokens=2000,
)
OTHERS = [n for n in range(48) if n not in NEURONS.values()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("planted")
    bank = treebank()
    model = LanguageModel(LocalModel(save_planted_model(folder / "model", bank), folder).fetch(), device="cpu")
    read = ActivationReader(model, "mlp", (LAYER,), dtype="float32", store=ActivationStore(folder / "store"))
    return read, bank, labels_of(bank), StoredActivations.of(read, bank)


def lesioned(place, neurons: dict[str, list[int]], study: LesionStudy = ZERO, seed: int = 0) -> LesionResult:
    read, bank, labels, activations = place
    scores = torch.rand(4, 48, generator=torch.Generator().manual_seed(0)).double()
    of_all = Scores("mlp", (LAYER,), 48, scores)
    text, key = (
        LabelledText(bank, TreebankDigests("", {}), labels),
        key_neurons(activations, labels, of_all, sets_of(neurons)),
    )
    return study_lesions(study, read, text, activations, key, least_squares, seed)


def key_neurons(activations: StoredActivations, labels: Labels, scores: Scores, sets: NeuronSets) -> KeyNeurons:
    return KeyNeurons(ScoredWords(activations, labels, labels.splits["train"].rows), scores, sets)


def least_squares(later: StoredActivations, labels: Labels, n_neurons: int) -> TrainedProbe:
    """An independent probe by least squares."""
    (values,) = later.arrays["train"].values()
    words = labels.splits["train"]
    features = torch.from_numpy(np.asarray(values[words.rows], dtype=np.float32))
    mean = features.mean(0)
    targets = torch.nn.functional.one_hot(torch.from_numpy(words.tags)).float()
    weight = torch.linalg.lstsq(features - mean, targets - targets.mean(0)).solution
    return TrainedProbe(np.arange(n_neurons), mean, torch.ones(n_neurons), weight, targets.mean(0))


@pytest.fixture(scope="module")
def planted(place) -> LesionResult:
    return lesioned(place, {tag: [neuron, OTHERS[i]] for i, (tag, neuron) in enumerate(NEURONS.items())})


def test_the_lesion_of_a_planted_neuron_hurts_its_tag_alone(planted):
    assert planted.tags == NAMES
    assert all(bits < 3 for bits in planted.intact.values())  # one of six words: 2.6 bits
    own = planted.change.diagonal()
    off = planted.change[~np.eye(4, dtype=bool)]
    assert own.min() > 0.5
    assert np.abs(off).max() < 0.3
    for i, tag in enumerate(NAMES):
        low, high = planted.intervals[tag]
        assert 0 < low < own[i] < high
        assert abs(planted.guard[tag]) < own[i]  # triggers, which the model was not trained to predict
    assert planted.doses[0.5] == pytest.approx(planted.doses[1.0], abs=0.1)  # the stronger half is the planted neuron


def test_matched_sets_do_not(planted):
    for family in ("variance", "frequency", "lowest"):
        for effect in planted.families[family].effects.values():
            assert abs(effect.control_mean) < 0.25
            assert effect.p_value <= 2 / 21
    assert set(planted.families) == {*ZERO.families, "other_tags"}


def test_the_double_dissociation_is_found(planted):
    found = planted.families["lowest"].dissociation
    assert found is not None
    assert found.p_value == pytest.approx(1 / 24)
    low, high = planted.families["lowest"].interval
    assert 0.4 < low < found.diagonal_advantage < high
    assert found.smallest_detectable > 0
    assert {pair.tags for pair in found.pairs} == {(a, b) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]}


def test_effects_beyond_controls_are_those_of_the_matrix(planted):
    for family in ZERO.families:
        matrix, effects = planted.families[family].dissociation.beyond, planted.families[family].beyond
        for i, tag in enumerate(NAMES):
            assert effects[tag].own.value == pytest.approx(matrix[i, i])
            assert effects[tag].others.value == pytest.approx((matrix[i].sum() - matrix[i, i]) / 3)
            assert effects[tag].own.low > effects[tag].others.high
            assert effects[tag].difference.low > 0


def test_its_twin_without_planted_neurons_has_none(place):
    found = lesioned(place, {tag: OTHERS[4 * i : 4 * i + 2] for i, tag in enumerate(NAMES)})
    double = found.families["random"].dissociation
    assert double is not None
    assert not double.pairs
    assert double.p_value > 0.05
    assert np.abs(found.change).max() < 0.3


@pytest.mark.parametrize(
    "lesion",
    [Lesion("mean"), Lesion("tag_mean"), Lesion("resample"), Lesion("translate", to="VERB"), Lesion("scale", 3.0)],
    ids=lambda lesion: lesion.mode,
)
def test_other_modes_do_what_they_say(place, lesion):
    study = replace(ZERO, lesion=lesion, families=("lowest",), shares=(1.0,))
    found = lesioned(place, {tag: [neuron] for tag, neuron in NEURONS.items()}, study)
    own = dict(zip(NAMES, found.change.diagonal().tolist(), strict=True))
    if lesion.mode in {"mean", "resample"} or lesion.mode == "tag_mean":
        assert min(own.values()) > 0.3
    elif lesion.mode == "translate":
        assert own["VERB"] == pytest.approx(0, abs=1e-6)
    else:
        assert max(own.values()) < 0.3  # amplification does not hurt the tag's words


def test_where_only_the_tag_is_predicted_other_words_are_hardly_touched(place, planted):
    study = replace(ZERO, where="predicted", families=("random",), shares=(1.0,))
    found = lesioned(place, {tag: [neuron] for tag, neuron in NEURONS.items()}, study)
    assert found.change.diagonal().min() > 0.5
    everywhere = lesioned(place, {tag: [neuron] for tag, neuron in NEURONS.items()}, replace(study, where="everywhere"))
    np.testing.assert_allclose(found.change.diagonal(), everywhere.change.diagonal(), atol=0.05)


def test_keeping_only_the_planted_neurons_keeps_what_they_carry(place):
    study = replace(ZERO, lesion=Lesion("keep_only"), families=("random",), shares=(1.0,))
    every = list(NEURONS.values())
    found = lesioned(place, {tag: every for tag in NAMES}, study)
    assert np.abs(found.change).max() < 0.3


@pytest.mark.parametrize("where", ["everywhere", "predicted"])
def test_sets_are_drawn_until_the_answer_stands(place, where):
    """A sequential study has the p-values of one that draws all sets, from fewer of them."""
    neurons = {tag: [neuron] for tag, neuron in NEURONS.items()} | {"ADV": OTHERS[:1], "VERB": OTHERS[1:2]}
    fixed = replace(ZERO, where=where, families=("random", "variance"), shares=(1.0,), bootstraps=20)
    every = lesioned(place, neurons, fixed)
    study = replace(fixed, sets=5, further_sets=15, exceedances=3)
    result = lesioned(place, neurons, study)
    np.testing.assert_allclose(result.change, every.change, atol=1e-6)
    for family in study.families:
        for tag in NAMES:
            found, whole = (each.families[family].effects[tag] for each in (result, every))
            assert (found.p_value <= 0.05) == (whole.p_value <= 0.05)
            assert found.sets == 20 if found.p_value < 3 / 20 else found.sets in {5, 10, 15, 20}
            if found.sets == 20 and whole.p_value < 3 / 21:
                assert found.p_value == whole.p_value
                assert found.control_mean == pytest.approx(whole.control_mean, abs=1e-6)
        assert result.metrics()[f"lesion/zero/{family}/sets/ADJ"] == result.families[family].effects["ADJ"].sets
    assert result.families["random"].effects["ADJ"].sets == 20
    assert min(effect.sets for effect in result.families["random"].effects.values()) < 20


def test_the_matrix_uses_the_sets_that_all_tags_have(place):
    neurons = {tag: [neuron] for tag, neuron in NEURONS.items()}
    fixed = replace(ZERO, families=("random",), shares=(1.0,), sets=5)
    few, more = (lesioned(place, neurons, replace(fixed, further_sets=n)).families["random"] for n in (0, 15))
    np.testing.assert_allclose(few.dissociation.beyond, more.dissociation.beyond, atol=1e-6)
    assert few.dissociation.p_value == more.dissociation.p_value
    assert few.interval == pytest.approx(more.interval, abs=1e-6)


@pytest.mark.parametrize(
    ("tags", "lesion", "chosen"),
    [
        ("all", Lesion("zero"), ("A", "B", "C")),
        (2, Lesion("zero"), ("A", "C")),  # ties go to the first
        (("C", "B"), Lesion("zero"), ("B", "C")),
        (2, Lesion("translate", to="B"), ("B", "C")),
        (9, Lesion("zero"), ("A", "B", "C")),
    ],
)
def test_the_tags_with_the_most_words_are_lesioned(tags, lesion, chosen):
    study = replace(ZERO, tags=tags, lesion=lesion)
    assert study.chosen_tags({"A": 3, "B": 3, "C": 7}) == chosen


def test_omitted_tags_are_named_and_their_words_watched(place):
    """Words of other tags are measured under lesions of whole sets, as words without a tag are."""
    neurons = {tag: [neuron] for tag, neuron in NEURONS.items()}
    result = lesioned(place, neurons, replace(ZERO, tags=("NOUN", "ADJ"), families=("random",), shares=(1.0,)))
    assert (result.tags, result.omitted) == (("ADJ", "NOUN"), ("ADV", "VERB"))
    assert max(abs(change) for change in result.guard.values()) < 0.3
    with pytest.raises(ValueError, match=r"lesion\.tags must be one of ADJ, NOUN, got VERB"):
        lesioned(place, {"NOUN": [29], "ADJ": [3]}, replace(ZERO, tags=("NOUN", "ADJ", "VERB")))


def test_the_same_seed_gives_the_same_result(place):
    study = replace(ZERO, families=("random",), shares=(1.0,), sets=3, bootstraps=20)
    neurons = {tag: [neuron] for tag, neuron in NEURONS.items()}
    one, again, other = (lesioned(place, neurons, study, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.change, again.change)
    assert one.families["random"].effects == again.families["random"].effects
    assert one.families["random"].effects != other.families["random"].effects


def test_too_few_tags_are_refused(place):
    with pytest.raises(
        ValueError, match="lesions need two tags with key neurons and words in 40 sentences of test, got"
    ):
        lesioned(place, {"NOUN": [29], "VERB": [], "ADJ": [], "ADV": []})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "remove"}, "mode must be one of zero, mean"),
        ({"mode": "zero", "to": "NOUN"}, "to names the tag of mode=translate and of no other"),
        ({"mode": "translate"}, "to names the tag of mode=translate and of no other"),
    ],
)
def test_a_lesion_that_makes_no_sense_is_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message if options["mode"] != "remove" else ""):
        Lesion(**options)


def test_the_probability_of_words_of_the_tag_falls_with_its_neuron(place):
    study = replace(ZERO, tag_mass=True, families=("variance",), shares=(1.0,))
    mass = lesioned(place, {tag: [neuron] for tag, neuron in NEURONS.items()}, study).readouts["tag_mass"]
    for tag in NAMES:
        assert mass.intact[tag] > 0.6
        assert mass.lesioned[tag] < mass.intact[tag] / 2
        assert mass.families["variance"][tag].change == pytest.approx(mass.intact[tag] - mass.lesioned[tag])
        assert mass.families["variance"][tag].p_value <= 2 / 21
    unplanted = {tag: OTHERS[4 * i : 4 * i + 2] for i, tag in enumerate(NAMES)}
    twin = lesioned(place, unplanted, study).readouts["tag_mass"]
    for tag in NAMES:
        assert twin.lesioned[tag] == pytest.approx(twin.intact[tag], abs=0.1)


def test_tags_of_tokens_are_counted_in_train(place):
    read, bank, labels, _ = place
    table = tags_of_tokens(read, bank, labels)
    for tag, words in WORDS.items():
        for word in words:
            assert table[read.model.tokenizer.convert_tokens_to_ids(word)].tolist() == [t == tag for t in NAMES]
    assert not table[read.model.tokenizer.convert_tokens_to_ids(TRIGGERS[0])].any()  # a word without a tag


def test_later_layers_tell_the_tags_until_all_neurons_are_gone(place):
    read, *rest = place
    study = replace(ZERO, later_layers=(1,), families=("random",), sets=2, shares=(1.0,))
    kept = lesioned(place, {tag: [neuron] for tag, neuron in NEURONS.items()}, study)
    gone = replace(study, lesion=Lesion("keep_only"))
    residual = replace(read, site="residual")
    stream = StoredActivations.of(residual, rest[0])
    one = NeuronSets("residual", (LAYER,), 32, {tag: (KeyNeuron(LAYER, i, 1.0),) for i, tag in enumerate(NAMES)})
    scores = Scores("residual", (LAYER,), 32, torch.rand(4, 32).double())
    text = LabelledText(rest[0], TreebankDigests("", {}), rest[1])
    lost = study_lesions(gone, residual, text, stream, key_neurons(stream, rest[1], scores, one), least_squares, 0)
    for tag in NAMES:  # the residual stream at a word has its tag without the planted neurons
        reading = kept.readouts["accuracy_in_layer_1"]
        assert reading.intact[tag] > 0.95
        assert reading.lesioned[tag] > 0.8
    assert np.mean(list(lost.readouts["accuracy_in_layer_1"].lesioned.values())) < 0.6


class TestConditions:
    """Effect of a mode on the neurons of two of three layers."""

    means = Means((4, 7), torch.tensor([1.0, 2, 3, 4, 5, 6]), torch.tensor([[0.0] * 6, [10.0] * 6]))

    @pytest.mark.parametrize("mode", [name for name, mode in MODES.items() if not mode.others])
    def test_every_mode_changes_the_given_neurons(self, mode: str) -> None:
        to = "B" if MODES[mode].to else None
        condition = Lesion(mode, factor=3.0, to=to).condition([1, 3, 5], 0, ("A", "B"), self.means)
        assert {layer: n.tolist() for layer, n in condition.neurons.items()} == {4: [1], 7: [0, 2]}
        values, lent = torch.full((1, 2, 2), 2.0), torch.full((1, 2, 2), 9.0)
        wanted = {"mean": [4.0, 6.0], "resample": [9.0] * 2, "translate": [12.0] * 2, "scale": [6.0] * 2}
        found = condition.change[7](values, lent)
        assert found.tolist() == [[wanted.get(mode, [0.0, 0.0])] * 2]

    def test_all_others_of_the_same_layers_are_changed(self) -> None:
        condition = Lesion("keep_only").condition([3, 5], 0, ("A", "B"), self.means)
        assert {layer: n.tolist() for layer, n in condition.neurons.items()} == {7: [1]}


def test_every_mode_has_its_option() -> None:
    options = (Path(__file__).parents[3] / "conf" / "lesion").glob("[!_]*.yaml")
    assert sorted(re.search(r"^mode: (\w+)", path.read_text("utf-8"), re.MULTILINE)[1] for path in options) == sorted(
        MODES
    )


def test_a_family_of_controls_is_one_entry_in_a_table(place, monkeypatch) -> None:
    def highest(
        own: list[int], statistics: NeuronStatistics, magnitudes: np.ndarray, n_sets: int, seed: int
    ) -> np.ndarray:
        free = [n for n in np.argsort(-magnitudes) if n not in own]
        return np.array([sorted(free[: len(own)])] * n_sets)

    monkeypatch.setitem(CONTROL_FAMILIES, "highest", ControlFamily(highest))
    study = replace(ZERO, families=("random", "highest"), shares=(1.0,), sets=2, bootstraps=20)
    against = lesioned(place, {tag: [neuron] for tag, neuron in NEURONS.items()}, study).families["highest"]
    assert set(against.effects) == set(NAMES)
    assert all(effect.control_std == 0 for effect in against.effects.values())  # both sets are equal
    assert against.mismatch is None
