"""Text generation under lesions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from planted_model import LAYER, NAMES, NEURONS, TRIGGERS, labels_of, save_planted_model, treebank

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.lesion import modes
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation, continuations, read_prompts
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.pipeline.lesions.generated import generate, lexicon_of

INTACT = Condition({}, {})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    folder: Path = tmp_path_factory.mktemp("writing")
    return LanguageModel(LocalModel(save_planted_model(folder / "model", treebank()), folder).fetch(), device="cpu")


def silenced(tag: str) -> Condition:
    return Condition({LAYER: torch.tensor([NEURONS[tag]])}, {LAYER: modes.silence})


def written(model: LanguageModel, condition: Condition, **options) -> tuple[str, ...]:
    generation = Generation(TRIGGERS, **{"new_tokens": 1, "temperature": 0.0, "seed": 0, **options})
    return continuations(model, "mlp", 0, condition, generation, lambda _: None)


def test_greedy_texts_are_those_of_the_model_step_by_step(model):
    for prompt, text in zip(TRIGGERS, written(model, INTACT, new_tokens=3), strict=True):
        ids, new = [0, *model.tokenizer(prompt)["input_ids"]], []
        while len(new) < 3 and 1 not in new:  # the end of the text
            with torch.no_grad():
                new.append(int(model.predictor.whole(torch.tensor([ids + new])).logits[0, -1].argmax()))
        assert text == model.tokenizer.decode(new, skip_special_tokens=True)


def test_behind_its_trigger_the_model_writes_words_of_a_tag_unless_its_neuron_is_silenced(model):
    for i, tag in enumerate(NAMES):
        assert written(model, INTACT)[i].startswith(tag.lower())
        assert not written(model, silenced(tag))[i].startswith(tag.lower())
        other = NAMES[(i + 1) % 4]
        assert written(model, silenced(other))[i].startswith(tag.lower())


def test_sampling_depends_on_the_seed_alone(model):
    hot = {"temperature": 1.5, "new_tokens": 8}
    one, again, other = (written(model, INTACT, **hot, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert written(model, INTACT, new_tokens=8) != one


def test_hooks_are_gone_afterwards(model):
    with pytest.raises(IndexError):
        written(model, Condition({LAYER: torch.tensor([999])}, {LAYER: modes.silence}))
    written(model, silenced("NOUN"))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.predictor.base.modules())


def test_shares_count_the_words_that_train_knows(model, tmp_path):
    read = ActivationReader(model, "mlp", (LAYER,), store=ActivationStore(tmp_path))
    labels = labels_of(treebank())
    lexicon = lexicon_of(labels.splits["train"], labels.names)
    assert lexicon["noun3"] == "NOUN"
    keys = [silenced(tag) for tag in NAMES]
    harmless = [Condition({LAYER: torch.tensor([1])}, {LAYER: modes.silence})] * 4
    found = generate(read, Generation(TRIGGERS, 1, 0.0, 0), NAMES, keys, harmless, lexicon)
    for tag in NAMES:
        intact, lesioned, control = found.shares[tag]
        assert intact == control == 0.25
        assert lesioned < 0.25
    assert found.intact == written(model, INTACT)
    assert found.lesioned["VERB"] == written(model, silenced("VERB"))


def test_prompts_are_the_lines_of_a_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("The dog\n\n  She ")
    assert read_prompts(path) == ("The dog", "She")
    path.write_text("\n  \n")
    with pytest.raises(ValueError, match=f"^{path} has no prompts: all lines are blank"):
        read_prompts(path)
    path.write_bytes(b"The dog\n\xff")
    with pytest.raises(ValueError, match=f"^{path}:2: not UTF-8"):
        read_prompts(path)
