"""Makes the table of UD treebanks in the package from the project's own repositories.

``python tools/ud_treebanks.py AUTOMATION DOCS [RELEASE]`` takes clones of
github.com/UniversalDependencies/docs-automation and docs. Names come from the list of the release,
codes and scripts from ``codes_and_flags.yaml``, licences and sizes from the page of each treebank
in ``docs``. They are those of the release that the pages were last generated for; a treebank
without a page has neither. Only facts are kept.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).parents[1] / "src" / "keyneurons" / "data" / "treebanks.json"
LICENCE = re.compile(r"^License: (.+)$", re.MULTILINE)
SIZE = re.compile(r"contains (\d+) sentences?(?:,| and) (\d+) tokens?(?: and (\d+) syntactic words)?")
PAGES = re.compile(r"\[UD (\d+\.\d+)\]\(/#download\)")


def main() -> None:
    """Write the table."""
    automation, docs = sys.argv[1:3]
    release = sys.argv[3] if len(sys.argv) > 3 else "2.16"
    releases = json.loads(show(automation, "valdan/releases.json"))
    names = releases["releases"][release]["treebanks"]
    renamed = dict(releases["renamed_after_release"].get(release, ()))
    languages = yaml.safe_load(show(automation, "codes_and_flags.yaml"))
    known = {name: languages.get(language(name)) or languages[language(renamed[name])] for name in names}
    pages = set(show_names(docs, "treebanks"))
    rows = [row(name, known[name], docs, pages) for name in sorted(names)]
    described = sorted({each.pop("release") for each in rows if "release" in each})
    table = {"release": release, "sizes": described[-1], "treebanks": rows}
    lines = ",\n".join("  " + json.dumps(each, ensure_ascii=False) for each in rows)
    head = json.dumps({name: table[name] for name in ("release", "sizes")})[:-1]
    TABLE.write_text(f'{head}, "treebanks": [\n{lines}\n]}}\n', "utf-8")


def language(name: str) -> str:
    """The language in the name of a treebank."""
    return name.removeprefix("UD_").partition("-")[0].replace("_", " ")


def row(name: str, known: dict[str, Any], docs: str, pages: set[str]) -> dict[str, Any]:
    """The facts of one treebank, of whose language ``known`` has the code and the scripts."""
    code = f"{known['lcode']}_{name.partition('-')[2].lower()}"
    facts = {"name": name, "language": language(name), "code": code, "scripts": known["scripts"], "licence": None}
    facts |= {"sentences": None, "words": None}
    if f"treebanks/{code}" not in pages:
        return facts
    page = show(docs, f"treebanks/{code}/index.md")
    if (licence := LICENCE.search(page)) is not None:
        facts["licence"] = licence[1].strip()
    if (size := SIZE.search(page)) is not None:
        facts |= {"sentences": int(size[1]), "words": int(size[3] or size[2])}
    if (release := PAGES.search(page)) is not None:
        facts["release"] = release[1]
    return facts


def show(repository: str, path: str) -> str:
    """A file of a clone, with or without a work tree."""
    return subprocess.run(
        ["git", "-C", repository, "show", f"HEAD:{path}"], capture_output=True, text=True, check=True
    ).stdout


def show_names(repository: str, folder: str) -> list[str]:
    """The folders below a folder of a clone."""
    command = ["git", "-C", repository, "ls-tree", "-d", "--name-only", "HEAD", f"{folder}/"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


if __name__ == "__main__":
    main()
