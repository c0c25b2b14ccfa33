"""Parses the recipes of CONTRIBUTING.md and applies them to a copy of the source."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Listing:
    """A file to create or lines to change; ``text`` excludes the line that names the file."""

    path: str
    text: str
    is_change: bool

    def follow(self, folder: Path) -> None:
        """Create or change the file.

        Raises:
            ValueError: if the file to create exists, or the lines to change do not occur once.
        """
        path = folder / self.path
        if not self.is_change:
            if path.exists():
                raise ValueError(f"{self.path} exists already")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, encoding="utf-8")
            return
        lines = self.text.splitlines(keepends=True)
        before, after = ("".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
        text = path.read_text(encoding="utf-8")
        if (found := text.count(before)) != 1:
            raise ValueError(f"{self.path} has these lines {found} times:\n{before}")
        path.write_text(text.replace(before, after), encoding="utf-8")


@dataclass(frozen=True)
class Recipe:
    """A section of CONTRIBUTING.md: its listings and the command that uses the result."""

    title: str
    listings: tuple[Listing, ...]
    command: tuple[str, ...]

    @property
    def tests(self) -> list[str]:
        """The test files."""
        return [listing.path for listing in self.listings if listing.path.startswith("tests/")]

    @property
    def touched(self) -> set[str]:
        """All other files."""
        return {listing.path for listing in self.listings} - set(self.tests)

    def follow(self, folder: Path) -> None:
        """Create and change the files."""
        for listing in self.listings:
            listing.follow(folder)


def read_recipes() -> Mapping[str, Recipe]:
    """The recipes by title: all sections with a listing of a file."""
    sections = re.split(r"^## ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    recipes = (_recipe(*section.split("\n", 1)) for section in sections)
    return {recipe.title: recipe for recipe in recipes if recipe.listings}


def copy_of_source(folder: Path) -> Path:
    """A copy of the files that recipes change and their tests need."""
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    for path in [ROOT / "pyproject.toml", *(ROOT / "tests").glob("*.py")]:
        if not path.name.startswith("test_"):
            shutil.copy(path, folder / path.relative_to(ROOT))
    return folder


def _recipe(title: str, text: str) -> Recipe:
    listings, command = [], ()
    for language, block in BLOCK.findall(text):
        first, rest = block.split("\n", 1)
        if language == "diff":
            listings.append(Listing(first.removeprefix("--- "), rest, is_change=True))
        elif language == "sh" and block.startswith("keyneurons "):
            command = tuple(block.split()[1:])
        elif language != "sh":
            listings.append(Listing(first.removeprefix("# "), rest, is_change=False))
    return Recipe(title, tuple(listings), command)
