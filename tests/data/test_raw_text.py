"""Raw text through the real Stanza, with a tokenizer and a tagger trained for a few steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keyneurons.data.raw_text import RawText, join_lines, read_texts
from keyneurons.records import SPLITS, Sentence, Treebank

TAGGED = (
    "The/DET dog/NOUN runs/VERB ./PUNCT",
    "A/DET cat/NOUN sleeps/VERB here/ADV ./PUNCT",
    "Where/ADV is/AUX the/DET bird/NOUN ?/PUNCT",
    "She/PRON sees/VERB two/NUM dogs/NOUN ./PUNCT",
    "They/PRON run/VERB ,/PUNCT he/PRON sleeps/VERB ./PUNCT",
)
TOKENIZER = "--mode train --lang en --shorthand en_toy --steps 40 --eval_steps 1000 --batch_size 8 --emb_dim 16"
TOKENIZER += (
    " --hidden_dim 16 --lr0 0.02 --dropout 0 --unit_dropout 0 --feat_dropout 0 --feat_unit_dropout 0 --device cpu"
)
TAGGER = "--mode train --lang en --shorthand en_toy --no_pretrain --max_steps 20 --eval_interval 20 --fix_eval_interval"
TAGGER += " --hidden_dim 16 --char_hidden_dim 16 --deep_biaff_hidden_dim 16 --composite_deep_biaff_hidden_dim 8"
TAGGER += " --word_emb_dim 16 --char_emb_dim 8 --tag_emb_dim 8 --transformed_dim 16 --num_layers 1 --batch_size 100"
TAGGER += " --dropout 0 --word_dropout 0 --lr 0.03 --device cpu"


def training_files(folder: Path) -> None:
    """Text, character labels (1 ends a word, 2 a sentence) and tagged words.

    Punctuation follows the word without a space.
    """
    text, labels, rows = "", "", []
    for number, sentence in enumerate(TAGGED * 12):
        for position, word in enumerate(sentence.split(), start=1):
            form, tag = word.split("/")
            gap = " " if tag != "PUNCT" and position > 1 else ""
            text, labels = text + gap + form, labels + "0" * (len(gap + form) - 1) + "1"
            feats = "Number=Sing" if form in ("dog", "cat", "bird") else "_"
            rows.append(f"{position}\t{form}\t_\t{tag}\t{tag[:2]}\t{feats}\t{position - 1}\tdep\t_\t_")
        rows.append("")
        gap = "\n\n" if number % 20 == 19 else " "
        text, labels = text + gap, labels[:-1] + "2" + gap.replace(" ", "0")
    for name, content in {"txt": text, "labels": labels, "conllu": "\n".join(rows) + "\n", "json": "[]"}.items():
        (folder / f"toy.{name}").write_text(content)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Pipeline options with the paths of the trained models."""
    import torch
    from stanza.models import tagger, tokenizer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny layers: a second thread on a busy machine costs ten times the training
    folder = tmp_path_factory.mktemp("stanza")
    training_files(folder)
    files = f" --save_dir {folder} --save_name"
    inputs = f"txt_file {folder}/toy.txt --{{}}label_file {folder}/toy.labels"
    inputs = f" --{inputs.format('')} --dev_{inputs.format('dev_')} --mwt_json_file {folder}/toy.json"
    tokenizer.main((TOKENIZER + inputs + files + " tokenizer.pt").split())
    inputs = f" --train_file {folder}/toy.conllu --eval_file {folder}/toy.conllu"
    tagger.main((TAGGER + inputs + files + " tagger.pt").split())
    yield {"tokenize_model_path": f"{folder}/tokenizer.pt", "pos_model_path": f"{folder}/tagger.pt"}
    torch.set_num_threads(threads)


def source(folder: Path, **options: str) -> RawText:
    """Two files under ``texts``, without published models."""
    texts = folder / "texts"
    texts.mkdir()
    first = "The dog runs.  A cat\n   sleeps   here.\r\n\r\nWhere is the\tbird? She sees two dogs.\n"
    (texts / "a.txt").write_text(first * 3, encoding="utf-8")
    (texts / "b.txt").write_text("\ufeffThey run, he sleeps.\u2028The caf\u00e9\u2019s\u00a0dog\x97 \U0001f600.")
    empty = folder / "no models"
    return RawText(
        id="mine", path=texts, language="en", cache=folder / "cache", stanza_folder=empty, stanza_options=options
    )


def in_order(bank: Treebank) -> list[Sentence]:
    """All sentences in file order; each file has fewer than a hundred."""
    sentences = [sentence for split in SPLITS for sentence in bank.splits[split]]
    return sorted(sentences, key=lambda s: (s.id.split("-")[0], int(s.id.split("-")[1])))


@pytest.mark.slow
def test_sentences_words_and_tags_come_from_stanza(tmp_path: Path, models: dict[str, str]) -> None:
    sentences = in_order(source(tmp_path, **models).load())
    assert [s.text for s in sentences if s.id.startswith("a.txt")] == [
        "The dog runs.",
        "A cat sleeps   here.",
        "Where is the bird?",
        "She sees two dogs.",
    ] * 3
    tagged = [" ".join(f"{word.form}/{word.upos}" for word in s.words) for s in sentences[:4]]
    assert tagged == list(TAGGED[:4])
    assert {word.form: word.feats for word in sentences[0].words}["dog"] == {"Number": "Sing"}
    assert sentences[0].words[0].xpos == "DE"


@pytest.mark.slow
def test_spans_are_exact_also_in_odd_text(tmp_path: Path, models: dict[str, str]) -> None:
    odd = [s for s in in_order(source(tmp_path, **models).load()) if s.id.startswith("b.txt")]
    assert "".join("".join(s.text.split()) for s in odd) == "Theyrun,hesleeps.Thecafé\u2019sdog\U0001f600."
    for sentence in odd:
        assert [sentence.text[word.start : word.end] for word in sentence.words] == [w.form for w in sentence.words]


@pytest.mark.slow
def test_text_is_tagged_once_for_the_same_text_and_models(
    tmp_path: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = source(tmp_path, **models)
    bank = raw.load()
    (kept,) = (tmp_path / "cache").rglob("tagged.conllu")
    assert [path.name for path in kept.parent.iterdir()] == ["tagged.conllu"]
    with monkeypatch.context() as patch:
        patch.setattr("keyneurons.data.raw_text.make_pipeline", lambda *_: pytest.fail("tagged again"))
        assert raw.load() == bank
        assert replace(raw, seed=1).load() != bank
    (tmp_path / "texts" / "a.txt").write_text("The cat runs. " * 30)
    assert raw.load() != bank
    assert len(list((tmp_path / "cache").rglob("tagged.conllu"))) == 2


@pytest.mark.slow
def test_multi_word_tokens_of_a_stanza_document_become_ranges(tmp_path: Path) -> None:
    from stanza.models.common.doc import Document

    from keyneurons.data.conllu import read_conllu
    from keyneurons.data.stanza_tagging import as_conllu

    words = [{"id": 1, "text": "do", "upos": "AUX"}, {"id": 2, "text": "n't"}, {"id": 3, "text": "de"}]
    tokens = [{"id": (1, 2), "text": "don't", "start_char": 1, "end_char": 6}, *words[:2]]
    tokens += [{"id": (3, 4), "text": "du", "start_char": 7, "end_char": 9}, words[2], {"id": 4, "text": "le"}]
    tokens += [{"id": 5, "text": ".", "start_char": 9, "end_char": 10}]
    text = " don't du."
    path = tmp_path / "toy.conllu"
    path.write_text(as_conllu("toy", text, Document([tokens], text)))
    file = read_conllu(path)
    (sentence,) = file.sentences
    assert (sentence.id, sentence.text) == ("toy-1", "don't du.")
    assert [sentence.text[w.start : w.end] for w in sentence.words] == ["do", "n't", "du", "du", "."]
    assert file.shared_spans == 2


@pytest.mark.slow
def test_without_models_the_line_has_the_command(tmp_path: Path) -> None:
    raw = source(tmp_path)
    command = r"download them with python -c \"import stanza; stanza.download\('en', model_dir='.*no models'\)\"$"
    with pytest.raises(ValueError, match=command) as error:
        raw.load()
    assert "\n" not in str(error.value)
    assert not raw.cache.exists()


@pytest.mark.slow
def test_a_tokenizer_without_a_tagger_is_refused(tmp_path: Path, models: dict[str, str]) -> None:
    raw = source(tmp_path, tokenize_model_path=models["tokenize_model_path"])
    (tmp_path / "no models").mkdir()
    (tmp_path / "no models" / "resources.json").write_text("{}")
    with pytest.raises(ValueError, match="Stanza has no tokenizer and tagger for 'en' in"):
        raw.load()


def test_a_model_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^stanza_options.pos_model_path=gone.pt: no such file$"):
        source(tmp_path, pos_model_path="gone.pt").load()


def test_lines_of_a_paragraph_are_joined() -> None:
    assert join_lines("\n a\nb \n  c\t d\n \n\n\ne  f\n") == "a b c  d\n\ne  f"


def test_texts_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone.txt: no such file"):
        read_texts(tmp_path / "gone.txt")
    with pytest.raises(ValueError, match=r"no .txt file in this folder"):
        read_texts(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "empty.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"no text in sub/empty.txt"):
        read_texts(tmp_path)
    (tmp_path / "sub" / "empty.txt").write_bytes(b"a\n\xff")
    with pytest.raises(ValueError, match=r"empty.txt:2: not UTF-8: byte 0xff"):
        read_texts(tmp_path)
