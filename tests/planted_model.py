"""A model in which one known neuron predicts each tag's words, so lesions have known effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from keyneurons.records import SPLITS, LabelledWords, Labels, NeuronSets, Sentence, Split, Treebank, Word

NAMES = ("ADJ", "ADV", "NOUN", "VERB")
TRIGGERS = ("so", "then", "the", "to")  # the word before the words of each tag
WORDS = {tag: [f"{tag.lower()}{i}" for i in range(6)] for tag in NAMES}
LAYER, NEURONS = 1, {"ADJ": 3, "ADV": 17, "NOUN": 29, "VERB": 40}


def treebank(seed: int = 0, n: int = 40) -> Treebank:
    """Sentences of triggers, each followed by a word of its tag."""
    rng = np.random.default_rng(seed)

    def sentence(number: int) -> Sentence:
        words, text = [], ""
        for tag in rng.integers(0, 4, rng.integers(3, 7)):
            for form, upos in ((TRIGGERS[tag], "X"), (str(rng.choice(WORDS[NAMES[tag]])), NAMES[tag])):
                start = len(text) + bool(text)
                text = f"{text} {form}".strip()
                words.append(Word(form, start, len(text), upos, None))
        return Sentence(f"s{number}", text, tuple(words))

    return Treebank("planted", {split: tuple(sentence(i) for i in range(n)) for split in SPLITS})


def labels_of(bank: Treebank) -> Labels:
    def labelled(split: Split) -> LabelledWords:
        every = [word for sentence in bank.splits[split] for word in sentence.words]
        rows = np.array([i for i, word in enumerate(every) if word.upos in NAMES])
        tags = np.array([NAMES.index(str(every[i].upos)) for i in rows])
        return LabelledWords(rows, tags, tuple(every[i].form for i in rows))

    return Labels("upos", NAMES, {split: labelled(split) for split in SPLITS})


def save_planted_model(folder: Path, bank: Treebank, steps: int = 150) -> Path:
    """Save a small random Llama of two blocks with four neurons trained to predict after triggers.

    Each neuron is active on its trigger alone; only its output weights are trained.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = ["<s>", "<pad>", *TRIGGERS, *(word for tag in NAMES for word in WORDS[tag])]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>").save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(vocabulary),
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                initializer_range=0.05,
                tie_word_embeddings=False,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
    mlp = model.model.layers[LAYER].mlp
    planted = list(NEURONS.values())
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0, 1, generator=torch.Generator().manual_seed(1))
        model.lm_head.weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(2))
        for trigger, neuron in zip(TRIGGERS, planted, strict=True):
            direction = model.model.embed_tokens.weight[vocabulary.index(trigger)]
            direction = direction / direction.norm()
            mlp.gate_proj.weight[neuron] = 2 * direction
            mlp.up_proj.weight[neuron] = direction
    model.requires_grad_(False)
    columns = torch.nn.Parameter(torch.zeros(32, 4))
    optimizer = torch.optim.Adam([columns], lr=0.05)
    texts = [[0, *(vocabulary.index(w.form) for w in s.words)] for s in bank.splits["train"]]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [1] * (longest - len(text)) for text in texts])
    behind = torch.isin(ids[:, :-1], torch.tensor([vocabulary.index(trigger) for trigger in TRIGGERS]))
    weight = mlp.down_proj.weight.clone()
    for _ in range(steps):
        mlp.down_proj.weight = None  # a parameter cannot be replaced by a tensor otherwise
        del mlp.down_proj.weight
        mlp.down_proj.weight = weight.index_copy(1, torch.tensor(planted), columns)
        logits = model(ids, attention_mask=(ids != 1).long()).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits[behind], ids[:, 1:][behind])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    del mlp.down_proj.weight
    mlp.down_proj.weight = torch.nn.Parameter(weight.index_copy(1, torch.tensor(planted), columns.detach()))
    model.save_pretrained(folder)
    return folder


def sets_of(neurons: dict[str, list[int]]) -> NeuronSets:
    from keyneurons.records import KeyNeuron

    tags = {tag: tuple(KeyNeuron(LAYER, n, 1.0) for n in own) for tag, own in neurons.items()}
    return NeuronSets("mlp", (LAYER,), 48, tags)
