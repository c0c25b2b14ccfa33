"""Treebanks by name: downloads from a local server, folders, and real releases where at hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from keyneurons.data import ud
from keyneurons.data.labels import label
from keyneurons.data.splitting import cap, drop_duplicates
from keyneurons.data.treebank_table import check_treebank, ud_treebanks
from keyneurons.data.ud import DIGESTS, UniversalDependencies
from keyneurons.records import SPLITS, Treebank

DATA = Path(__file__).parents[2].parent / "shared" / "data"
NAME = "UD_French-GSD"
FILES = {split: f"fr_gsd-ud-{split}.conllu" for split in SPLITS}


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without logging."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def rows(*forms: str) -> str:
    return "".join(f"1\t{form}\t_\tX\t_\t_\t_\t_\t_\t_\n\n" for form in forms)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """The folder of a release with three tiny files, and the address of the server."""
    folder = tmp_path / "served" / NAME / "r2.16"
    folder.mkdir(parents=True)
    for split, name in FILES.items():
        (folder / name).write_text(rows(f"{split}é"), encoding="utf-8")
    monkeypatch.setenv("no_proxy", "127.0.0.1,nowhere.invalid")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "served"))) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_files_are_downloaded_once_and_checked_afterwards(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, mirror = served
    source = UniversalDependencies(NAME, tmp_path / "cache", mirror=mirror)
    first = source.load()
    assert (first.id, first.pooled) == ("ud_french_gsd", {})
    assert [first.splits[split][0].text for split in SPLITS] == ["trainé", "devé", "testé"]
    kept = tmp_path / "cache" / "datasets" / "ud_french_gsd-2.16"
    assert sorted(path.name for path in kept.iterdir()) == sorted([DIGESTS, *FILES.values()])
    for name in FILES.values():
        (folder / name).rename(folder / f"{name}.away")
    assert source.load() == first
    (kept / FILES["dev"]).write_text("half")  # damaged: downloaded again, and compared with the first
    (folder / FILES["dev"]).write_text(rows("other"))
    with pytest.raises(ValueError, match=r"dev.conllu is not the released file: sha256 \w{64}, expected \w{64}; try"):
        source.load()
    (folder / f"{FILES['dev']}.away").rename(folder / FILES["dev"])
    assert source.load() == first


def test_a_treebank_with_test_alone_is_split_by_sentence(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, mirror = served
    (folder / FILES["train"]).unlink()
    (folder / FILES["dev"]).unlink()
    (folder / FILES["test"]).write_text(rows(*(f"w{i}" for i in range(20))))
    source = UniversalDependencies(NAME, tmp_path / "cache", mirror=mirror, fractions=(0.5, 0.25, 0.25), seed=3)
    split = source.load()
    assert split.pooled == {"ud_french_gsd": ("test",)}
    assert [len(split.splits[s]) for s in SPLITS] == [10, 5, 5]
    texts = [sentence.text for s in SPLITS for sentence in split.splits[s]]
    assert sorted(texts) == sorted(f"w{i}" for i in range(20))
    assert source.load() == split
    capped = cap(drop_duplicates(split), {"train": 4}, {})
    assert (len(capped.splits["train"]), capped.pooled) == (4, split.pooled)


def test_files_that_a_folder_lacks_are_made_up_for_by_splitting(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = served
    (folder / FILES["train"]).unlink()
    (folder / FILES["dev"]).write_text(rows(*"abcdefgh"))
    assert UniversalDependencies(NAME, tmp_path, folder).load().pooled == {"ud_french_gsd": ("dev", "test")}
    (folder / FILES["dev"]).unlink()
    (folder / FILES["test"]).unlink()
    with pytest.raises(ValueError, match=r"lacks fr_gsd-ud-train.conllu, .*: set dataset\.folder=FOLDER with fr_gsd"):
        UniversalDependencies(NAME, tmp_path, folder).load()


def test_dev_and_test_may_be_those_of_another_treebank(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, mirror = served
    (folder / FILES["train"]).write_text(rows("shared", "one", "two"))
    other = folder.parents[1] / "UD_Japanese-GSD" / "r2.16"
    other.mkdir(parents=True)
    (other / "ja_gsd-ud-test.conllu").write_text(rows("shared", *(f"w{i}" for i in range(19))))
    source = UniversalDependencies(NAME, tmp_path / "cache", mirror=mirror, test="UD_Japanese-GSD")
    alone = UniversalDependencies("UD_Japanese-GSD", tmp_path / "cache", mirror=mirror).load()
    bank = source.load()
    assert bank.splits["train"] == UniversalDependencies(NAME, tmp_path / "cache", mirror=mirror).load().splits["train"]
    assert [bank.splits[s] for s in ("dev", "test")] == [alone.splits[s] for s in ("dev", "test")]
    assert (bank.id, bank.pooled) == ("ud_french_gsd, tested on ud_japanese_gsd", {"ud_japanese_gsd": ("test",)})
    leaked = sum(sentence.text == "shared" for s in ("dev", "test") for sentence in bank.splits[s])
    assert sum(drop_duplicates(bank).duplicates_dropped.values()) == leaked
    local = UniversalDependencies(NAME, tmp_path, folder, test="UD_Japanese-GSD", test_folder=other).load()
    assert local == bank
    for wrong in ({"test": NAME}, {"test_folder": other}):
        with pytest.raises(ValueError, match=r"dataset\.test must be another treebank than UD_French-GSD, got"):
            UniversalDependencies(NAME, tmp_path, folder, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"lacks ja_gsd-ud-train.conllu"):
        UniversalDependencies(NAME, tmp_path, folder, test="UD_Japanese-GSD")


def test_known_files_are_all_needed_and_have_known_digests(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, mirror = served
    with pytest.raises(ValueError, match=r"lacks en_ewt-ud-train.conllu, en_ewt-ud-dev.conllu, en_ewt-ud-test.conllu"):
        UniversalDependencies("UD_English-EWT", tmp_path, folder).load()
    other = folder.parents[1] / "UD_English-EWT" / "r2.16"
    other.mkdir(parents=True)
    (other / "en_ewt-ud-train.conllu").write_text(rows("other"))
    with pytest.raises(ValueError, match=r"en_ewt-ud-train.conllu is not the released file: sha256"):
        UniversalDependencies("UD_English-EWT", tmp_path / "cache", mirror=mirror).load()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:9", "http://nowhere.invalid"])
def test_offline_says_both_ways(tmp_path: Path, mirror: str, served: object) -> None:
    with pytest.raises(
        ValueError, match=r"check the network connection, or set dataset\.folder=FOLDER with fr"
    ) as told:
        UniversalDependencies(NAME, tmp_path / "cache", mirror=mirror).load()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("page", ["<html>Sign in to the network</html>", "", "\x00\xff"])
def test_an_error_page_in_place_of_a_file_is_refused(served: tuple[Path, str], tmp_path: Path, page: str) -> None:
    folder, mirror = served
    (folder / FILES["train"]).write_text(page, encoding="latin-1")
    with pytest.raises(ValueError, match=r"train.conllu is no CoNLL-U file: check dataset.mirror"):
        UniversalDependencies(NAME, tmp_path / "cache", mirror=mirror).load()


def test_a_release_without_the_treebank_is_told(served: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"/UD_French-GSD/r1\.0/ has no file of UD_French-GSD: see dataset.release"):
        UniversalDependencies(NAME, tmp_path / "cache", release="1.0", mirror=served[1]).load()


def test_the_table_has_the_treebanks_of_the_release() -> None:
    table = ud_treebanks()
    assert len(table) == 319
    assert len({each.code for each in table.values()}) == 319
    ewt = table["UD_English-EWT"]
    assert (ewt.language, ewt.code, ewt.scripts, ewt.licence) == ("English", "en_ewt", ("Latn",), "CC BY-SA 4.0")
    assert table["UD_Kurmanji-MG"].language_code == "kmr"
    with pytest.raises(ValueError, match=r"did you mean UD_French-GSD"):
        check_treebank("ud_frensh-gsd")
    with pytest.raises(ValueError, match=r"keyneurons treebanks lists them\)$"):
        check_treebank("xyz")


SIZES = {
    "UD_English-EWT": [12544, 2001, 2077],
    "UD_French-GSD": None,
    "UD_Japanese-GSD": None,
    "UD_Turkish-PUD": [700, 150, 150],
    "UD_Arabic-PUD": [700, 150, 150],
}


@pytest.fixture(scope="module", params=list(SIZES))
def release(request: pytest.FixtureRequest) -> tuple[str, Treebank]:
    folder = DATA / request.param.lower().replace("-", "_")
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return request.param, UniversalDependencies(request.param, Path("unused"), folder).load()


@pytest.mark.slow
def test_every_word_of_a_release_stands_where_its_span_says(release: tuple[str, Treebank]) -> None:
    name, bank = release
    if SIZES[name] is not None:
        assert [len(bank.splits[split]) for split in SPLITS] == SIZES[name]
    sentences = [sentence for split in SPLITS for sentence in bank.splits[split]]
    for sentence in sentences:
        assert all(word.start < word.end <= len(sentence.text) for word in sentence.words)
        assert [word.number for word in sentence.words] == list(range(1, len(sentence.words) + 1))
        assert all(word.head is not None and word.head <= len(sentence.words) for word in sentence.words)
        assert sum(word.head == 0 for word in sentence.words) == 1
    other = sum(sentence.text[w.start : w.end] != w.form for sentence in sentences for w in sentence.words)
    assert other <= 2 * bank.shared_spans  # only words of ranges that do not spell their surface


@pytest.mark.slow
@pytest.mark.parametrize("column", ["upos", "deprel.main", "head.direction", "head.distance", "depth"])
def test_every_word_of_a_release_has_its_labels(release: tuple[str, Treebank], column: str) -> None:
    _, bank = release
    labels = label(bank, column, min_words_per_tag=100)
    without = sum(len(bank.splits["train"]) for _ in range(column == "head.distance"))  # roots have no distance
    assert int(labels.counts("train").sum()) + sum(labels.left_out.values()) == bank.n_words("train") - without


@pytest.mark.slow
def test_english_ewt_has_its_digests_duplicates_and_tags() -> None:
    folder = DATA / "ud_english_ewt"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    bank = UniversalDependencies("UD_English-EWT", Path("unused"), folder).load()
    assert [bank.n_words(split) for split in SPLITS] == [204577, 25147, 25094]
    assert bank.shared_spans == 0  # all 3,327 multi-word ranges spell their surface
    sums = (folder / "SHA256SUMS").read_text().split()
    known = ud.KNOWN["UD_English-EWT", "2.16"]
    assert {split: sums[sums.index(f"en_ewt-ud-{split}.conllu") - 1] for split in SPLITS} == known
    dropped = drop_duplicates(bank)
    texts = [{sentence.text for sentence in dropped.splits[split]} for split in SPLITS]
    assert not texts[0] & texts[1]
    assert not (texts[0] | texts[1]) & texts[2]
    assert dropped.duplicates_dropped == {"dev": 67, "test": 114}
    assert len(label(bank, "upos").names) == 17
    assert label(bank, "feats.Number").names == ("Plur", "Ptan", "Sing")
