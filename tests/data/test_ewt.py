"""UD English EWT: the real release if available, and downloads from a local server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from keyneurons.data import ewt
from keyneurons.data.ewt import FILES, UDEnglishEWT
from keyneurons.data.labels import label
from keyneurons.data.splitting import drop_duplicates
from keyneurons.records import SPLITS, Treebank

RELEASE = Path(__file__).parents[2].parent / "shared" / "data" / "ud_english_ewt"


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without logging."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder with three tiny files, patched in as the expected release, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    for split, name in FILES.items():
        text = f"1\t{split}é\t_\tX\t_\t_\t_\t_\t_\t_\n"
        (folder / name).write_text(text, encoding="utf-8")
        monkeypatch.setitem(ewt.SHA256, split, hashlib.sha256(text.encode()).hexdigest())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_files_are_got_once_and_kept(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    source = UDEnglishEWT(folder=None, cache=tmp_path / "cache", address=address)
    first = source.load()
    assert [first.splits[split][0].text for split in SPLITS] == ["trainé", "devé", "testé"]
    for name in FILES.values():
        (folder / name).unlink()
    assert source.load() == first
    kept = tmp_path / "cache" / "datasets" / "ud_english_ewt-2.16"
    assert sorted(path.name for path in kept.iterdir()) == sorted(FILES.values())


def test_a_damaged_file_of_the_cache_is_got_again(served: tuple[Path, str], tmp_path: Path) -> None:
    source = UDEnglishEWT(folder=None, cache=tmp_path, address=served[1])
    first = source.load()
    (tmp_path / "datasets" / "ud_english_ewt-2.16" / FILES["dev"]).write_text("half")
    assert source.load() == first


def test_another_file_than_the_released_one_is_refused(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    (folder / FILES["train"]).write_text("something else")
    with pytest.raises(
        ValueError, match=r"train.conllu is not the released file: sha256 \w{64}, expected \w{64}; try again, or"
    ):
        UDEnglishEWT(folder=None, cache=tmp_path / "cache", address=address).load()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "http://nowhere.invalid/"])
def test_offline_says_both_ways(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,nowhere.invalid")
    with pytest.raises(
        ValueError, match=r"check the network connection, or set dataset\.folder=FOLDER with en_ewt"
    ) as error:
        UDEnglishEWT(folder=None, cache=tmp_path, address=address).load()
    assert "\n" not in str(error.value)


def test_a_file_that_the_server_lacks_says_both_ways(served: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot download .*404.*dataset\.folder=FOLDER"):
        UDEnglishEWT(folder=None, cache=tmp_path, address=f"{served[1]}gone/").load()


def test_a_folder_is_used_whatever_the_digests_and_its_gaps_are_named(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = served
    (folder / FILES["dev"]).write_text("1\tother\t_\tX\t_\t_\t_\t_\t_\t_\n")
    assert UDEnglishEWT(folder=folder, cache=tmp_path).load().splits["dev"][0].text == "other"
    (folder / FILES["dev"]).unlink()
    (folder / FILES["test"]).unlink()
    with pytest.raises(ValueError, match=r"served lacks en_ewt-ud-dev.conllu, en_ewt-ud-test.conllu: set dataset\.fo"):
        UDEnglishEWT(folder=folder, cache=tmp_path).load()


@pytest.fixture(scope="module")
def release() -> Treebank:
    if not RELEASE.is_dir():
        pytest.skip(f"no {RELEASE}")
    return UDEnglishEWT(folder=RELEASE, cache=Path("unused")).load()


@pytest.mark.slow
def test_the_release_has_its_sizes_and_digests(release: Treebank) -> None:
    assert [len(release.splits[split]) for split in SPLITS] == [12544, 2001, 2077]
    assert [release.n_words(split) for split in SPLITS] == [204577, 25147, 25094]
    sums = (RELEASE / "SHA256SUMS").read_text().split()
    assert {split: sums[sums.index(name) - 1] for split, name in FILES.items()} == ewt.SHA256


@pytest.mark.slow
def test_every_word_of_the_release_stands_where_its_span_says(release: Treebank) -> None:
    sentences = [sentence for split in SPLITS for sentence in release.splits[split]]
    other = [w.form for s in sentences for w in s.words if s.text[w.start : w.end] != w.form]
    assert other == []  # all 3,327 multi-word ranges spell their surface, with the same case
    assert release.shared_spans == 0
    for sentence in sentences:
        ends = [0, *(word.end for word in sentence.words)]
        assert all(word.start >= end for word, end in zip(sentence.words, ends[:-1], strict=True))


@pytest.mark.slow
def test_texts_of_train_are_dropped_from_dev_and_test(release: Treebank) -> None:
    dropped = drop_duplicates(release)
    texts = [{sentence.text for sentence in dropped.splits[split]} for split in SPLITS]
    assert not texts[0] & texts[1]
    assert not (texts[0] | texts[1]) & texts[2]
    in_train = {s.text for s in release.splits["test"]} & {s.text for s in release.splits["train"]}
    assert len(in_train) == 46  # as in the README of the data; they cover 93 test sentences
    assert dropped.duplicates_dropped == {"dev": 67, "test": 114}


@pytest.mark.slow
def test_the_tags_of_the_release(release: Treebank) -> None:
    upos = label(release, "upos")
    assert len(upos.names) == 17
    assert sum(upos.counts("train")) == 204577
    assert label(release, "feats.Number").names == ("Plur", "Ptan", "Sing")
