"""Tags raw text with Stanza (Qi et al. 2020) and caches the result as CoNLL-U."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from keyneurons.atomic_files import write_text
from keyneurons.data.conllu import read_conllu
from keyneurons.data.reading import read_text
from keyneurons.data.sources import DEFAULT_FRACTIONS
from keyneurons.data.splitting import make_treebank, split_sentences
from keyneurons.data.stanza_tagging import StanzaModels, as_conllu, make_pipeline
from keyneurons.digests import json_digest
from keyneurons.records import Treebank

# White space and control characters that CoNLL-U or Stanza would misread.
_ODD_SPACE = re.compile(r"[\t\v\f\x1c-\x1f\x80-\x9f]")
_PARAGRAPH_END = re.compile(r"\n\s*\n")
_LINE_END = re.compile(r" *\n *")


@dataclass(frozen=True, kw_only=True)
class RawText:
    """A text file, or the ``.txt`` files of a folder, tagged by Stanza and split by sentence.

    ``seed`` determines the split. ``stanza_options`` are passed to ``stanza.Pipeline``, such as
    ``pos_model_path`` for a model outside ``stanza_folder``.
    """

    id: str
    path: Path
    language: str
    cache: Path
    fractions: Sequence[float] = DEFAULT_FRACTIONS
    seed: int = 0
    stanza_folder: Path | None = None
    device: str = "cpu"
    stanza_options: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> Treebank:
        """Load the tagged text from the cache; tag it first if the text or the models are new.

        Raises ``ValueError`` if there is no text or a Stanza model is missing; the message contains
        the command that downloads the model.

        Returns:
            The treebank. The lines of a paragraph are joined by a space; the text is otherwise
            unchanged.
        """
        texts = read_texts(Path(self.path))
        models = StanzaModels(self.language, self.stanza_folder, self.stanza_options)
        key = json_digest([texts, version("stanza"), models.facts()])
        file = Path(self.cache) / "datasets" / f"text-{key[:32]}" / "tagged.conllu"
        if not file.exists():
            pipeline = make_pipeline(models, self.device)
            write_text(file, "".join(as_conllu(name, text, pipeline(text)) for name, text in texts))
        return make_treebank(self.id, split_sentences(read_conllu(file).sentences, self.fractions, self.seed))


def read_texts(path: Path) -> list[tuple[str, str]]:
    """Read a plain text file, or the ``.txt`` files in and under a folder.

    Args:
        path: The file or folder.

    Returns:
        Name and text of each file, sorted by name, with the lines of each paragraph joined.

    Raises:
        ValueError: If there is no file, or a file is empty or not UTF-8.
    """
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no .txt file in this folder")
    texts = [
        (str(file.relative_to(path)) if path.is_dir() else file.name, join_lines(read_text(file))) for file in files
    ]
    if empty := [name for name, text in texts if not text]:
        raise ValueError(f"{path}: no text in {', '.join(empty)}")
    return texts


def join_lines(text: str) -> str:
    """Join the lines of each paragraph by a space; a blank line still separates paragraphs."""
    paragraphs = _PARAGRAPH_END.split(_ODD_SPACE.sub(" ", text).strip())
    return "\n\n".join(_LINE_END.sub(" ", paragraph).strip() for paragraph in paragraphs)
