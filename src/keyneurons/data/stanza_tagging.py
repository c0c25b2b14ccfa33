"""Runs Stanza: models, pipeline, and conversion of its documents to CoNLL-U."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keyneurons.digests import file_digest
from keyneurons.records import Sentence, Word

_MODEL_FOLDERS = ("tokenize", "mwt", "pos", "pretrain", "forward_charlm", "backward_charlm")
_LOCAL = ("tokenize_model_path", "pos_model_path")


@dataclass(frozen=True)
class StanzaModels:
    """The models of a language in ``folder`` (None: Stanza's default), with pipeline options."""

    language: str
    folder: Path | None
    options: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, value in self.options.items():
            if name.endswith("_path") and not Path(value).is_file():
                raise ValueError(f"stanza_options.{name}={value}: no such file")

    def root(self) -> Path:
        """Return the folder that contains ``resources.json``."""
        if self.folder is not None:
            return Path(self.folder).expanduser()
        from stanza.resources.common import DEFAULT_MODEL_DIR

        return Path(DEFAULT_MODEL_DIR)

    def facts(self) -> dict[str, object]:
        """Describe the models as JSON: language, options and the digests of the model files."""
        return {
            "language": self.language,
            "options": {k: file_digest(Path(v)) if k.endswith("_path") else v for k, v in self.options.items()},
            "files": {} if set(_LOCAL) <= set(self.options) else self._file_digests(),
        }

    def _file_digests(self) -> dict[str, str]:
        root = self.root()
        folder = root / self._code(root / "resources.json")
        files = [file for name in _MODEL_FOLDERS for file in sorted((folder / name).glob("*.pt"))]
        return {str(file.relative_to(root)): file_digest(file) for file in files}

    def _code(self, resources: Path) -> str:
        """Return the language's folder name; some codes are aliases (``zh`` is ``zh-hans``)."""
        code = self.language.strip().lower()
        try:
            return str(json.loads(resources.read_text(encoding="utf-8")).get(code, {}).get("alias", code))
        except (OSError, ValueError, AttributeError):  # the pipeline reports a broken list
            return code

    def download_command(self) -> str:
        """Return the command that downloads the models."""
        folder = "" if self.folder is None else f", model_dir='{self.folder}'"
        return f"python -c \"import stanza; stanza.download('{self.language}'{folder})\""


def make_pipeline(models: StanzaModels, device: str) -> Any:
    """Create a Stanza pipeline for sentences, words and tags, without downloading anything.

    Args:
        models: The models.
        device: ``cpu`` or ``cuda``.

    Returns:
        A ``stanza.Pipeline``.

    Raises:
        ValueError: If a model is missing; the message contains the command that downloads it.
    """
    import stanza
    from stanza.pipeline.core import PipelineRequirementsException

    try:
        with TemporaryDirectory() as folder:
            pipeline = stanza.Pipeline(
                models.language,
                dir=str(models.root()),
                processors="tokenize,pos",  # Stanza adds mwt for languages that need it
                download_method=None,
                logging_level="ERROR",
                device=device,
                **_no_resources(models, Path(folder)),
                **models.options,
            )
    except (FileNotFoundError, PipelineRequirementsException, KeyError, ValueError) as error:
        raise ValueError(_missing_models(models)) from error
    if "pos" not in pipeline.processors:
        raise ValueError(_missing_models(models))
    return pipeline


def _missing_models(models: StanzaModels) -> str:
    where = "its default folder" if models.folder is None else models.folder
    return (
        f"Stanza has no tokenizer and tagger for {models.language!r} in {where}: "
        f"download them with {models.download_command()}"
    )


def _no_resources(models: StanzaModels, folder: Path) -> dict[str, str]:
    """Point Stanza to an empty model list: it requires one even if all paths are set."""
    if not set(_LOCAL) <= set(models.options) or (models.root() / "resources.json").is_file():
        return {}
    empty = folder / "resources.json"
    empty.write_text("{}", encoding="utf-8")
    return {"resources_filepath": str(empty)}


def sentences_of(text: str, document: Any) -> list[Sentence]:
    """The sentences of a tagged Stanza document of ``text``, with spans in the whole text.

    The words of a multi-word token share its span.
    """
    return [
        Sentence(
            str(number),
            text,
            tuple(
                Word(word.text, token.start_char, token.end_char, word.upos, word.xpos, _features(word.feats))
                for token in sentence.tokens
                for word in token.words
            ),
        )
        for number, sentence in enumerate(document.sentences, start=1)
    ]


def _features(text: str | None) -> dict[str, str]:
    pairs = (feature.partition("=") for feature in (text or "").split("|") if feature)
    return {name: value for name, _, value in pairs}


def as_conllu(name: str, text: str, document: Any) -> str:
    """Convert a tagged Stanza document of ``text`` to CoNLL-U, with texts and forms as written."""
    blocks = []
    for number, sentence in enumerate(document.sentences, start=1):
        first, last = sentence.tokens[0], sentence.tokens[-1]
        head = [f"# sent_id = {name}-{number}", f"# text = {text[first.start_char : last.end_char]}"]
        blocks.append("\n".join([*head, *_rows(text, sentence)]) + "\n\n")
    return "".join(blocks)


def _rows(text: str, sentence: Any) -> Iterator[str]:
    ends = [token.start_char for token in sentence.tokens[1:]] + [None]
    for token, next_start in zip(sentence.tokens, ends, strict=True):
        surface = text[token.start_char : token.end_char]
        misc = "SpaceAfter=No" if next_start == token.end_char else "_"
        if len(token.words) > 1:
            yield _row(f"{token.id[0]}-{token.id[-1]}", surface, misc=misc)
            yield from (_row(str(word.id), word.text, word) for word in token.words)
        else:
            yield _row(str(token.words[0].id), surface, token.words[0], misc)


def _row(word_id: str, form: str, word: Any = None, misc: str = "_") -> str:
    tags = [getattr(word, name, None) or "_" for name in ("upos", "xpos", "feats")]
    return "\t".join([word_id, form, "_", *tags, "_", "_", "_", misc])
