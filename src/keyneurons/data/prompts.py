"""Prompts, one per line: packaged sets written for this project, or a file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from keyneurons.data.reading import read_text

PACKAGED = ("default", "formal", "informal")
"""Names of the packaged sets: English beginnings of sentences, sixteen each."""


def read_prompts(which: str | Path) -> tuple[str, ...]:
    """The prompts of a packaged set or of a file; blank lines are skipped.

    Raises:
        ValueError: the file is missing, is not UTF-8, or has fewer than two prompts or a prompt
            twice.
    """
    if str(which) in PACKAGED:
        with resources.as_file(resources.files("keyneurons.data") / "prompts" / f"{which}.txt") as path:
            return _prompts(path)
    path = Path(which).expanduser()
    if not path.is_file():
        raise ValueError(f"{path}: no such file; prompts are one of {', '.join(PACKAGED)}, or a file")
    return _prompts(path)


def _prompts(path: Path) -> tuple[str, ...]:
    prompts = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not prompts:
        raise ValueError(f"{path} has no prompts: all lines are blank")
    if len(prompts) < 2:
        raise ValueError(f"{path} has one prompt; intervals over prompts need at least two")
    if len(set(prompts)) < len(prompts):
        again = next(prompt for prompt in prompts if prompts.count(prompt) > 1)
        raise ValueError(f"{path} has the prompt {again[:40]!r} twice")
    return prompts
