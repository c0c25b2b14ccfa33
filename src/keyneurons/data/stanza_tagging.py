"""The only module that runs Stanza: models, pipeline, and its documents as CoNLL-U."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keyneurons.digests import file_digest

_MODEL_FOLDERS = ("tokenize", "mwt", "pos", "pretrain", "forward_charlm", "backward_charlm")
_LOCAL = ("tokenize_model_path", "pos_model_path")


@dataclass(frozen=True)
class StanzaModels:
    """The models asked for: those of a language in a folder (None is Stanza's own), and options for the pipeline."""

    language: str
    folder: Path | None
    options: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, value in self.options.items():
            if name.endswith("_path") and not Path(value).is_file():
                raise ValueError(f"stanza_options.{name}={value}: no such file")

    def root(self) -> Path:
        """The folder with ``resources.json``."""
        if self.folder is not None:
            return Path(self.folder).expanduser()
        from stanza.resources.common import DEFAULT_MODEL_DIR

        return Path(DEFAULT_MODEL_DIR)

    def facts(self) -> dict[str, object]:
        """All that the tags depend on, as JSON: language, options, and the digests of the model files."""
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
        """The language's folder name: some names are aliases (``zh`` is ``zh-hans``)."""
        code = self.language.strip().lower()
        try:
            return str(json.loads(resources.read_text(encoding="utf-8")).get(code, {}).get("alias", code))
        except (OSError, ValueError, AttributeError):  # what is wrong with the list, the pipeline says
            return code

    def how_to_get(self) -> str:
        """The command that downloads the models."""
        folder = "" if self.folder is None else f", model_dir='{self.folder}'"
        return f"python -c \"import stanza; stanza.download('{self.language}'{folder})\""


def make_pipeline(models: StanzaModels, device: str) -> Any:
    """A Stanza pipeline that finds sentences, words and tags; it downloads nothing.

    Args:
        models: Its models.
        device: ``cpu`` or ``cuda``.

    Returns:
        A ``stanza.Pipeline``.

    Raises:
        ValueError: If a model is not there; the line has the command that gets it.
    """
    import stanza
    from stanza.pipeline.core import PipelineRequirementsException

    try:
        with TemporaryDirectory() as folder:
            pipeline = stanza.Pipeline(
                models.language,
                dir=str(models.root()),
                processors="tokenize,pos",  # Stanza adds mwt by itself where the language needs it
                download_method=None,
                logging_level="ERROR",
                device=device,
                **_no_resources(models, Path(folder)),
                **models.options,
            )
    except (FileNotFoundError, PipelineRequirementsException, KeyError, ValueError) as error:
        raise ValueError(_lacking(models)) from error
    if "pos" not in pipeline.processors:
        raise ValueError(_lacking(models))
    return pipeline


def _lacking(models: StanzaModels) -> str:
    where = "its default folder" if models.folder is None else models.folder
    return f"Stanza has no tokenizer and tagger for {models.language!r} in {where}: get them with {models.how_to_get()}"


def _no_resources(models: StanzaModels, folder: Path) -> dict[str, str]:
    """Stanza insists on a list of its published models, even where all models are given by path."""
    if not set(_LOCAL) <= set(models.options) or (models.root() / "resources.json").is_file():
        return {}
    empty = folder / "resources.json"
    empty.write_text("{}", encoding="utf-8")
    return {"resources_filepath": str(empty)}


def as_conllu(name: str, text: str, document: Any) -> str:
    """The sentences of a tagged Stanza document as CoNLL-U, their texts and surface forms cut from ``text``."""
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
