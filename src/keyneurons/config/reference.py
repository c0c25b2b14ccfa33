"""The reference of keys and options.

Defaults and comments come from the files in ``conf/``, legal values from the schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from keyneurons.config.legal import legal_values

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LAUNCHER = "hydra/launcher"
BASE = "_base"


@dataclass(frozen=True)
class Key:
    """A key as on the command line.

    ``default`` is None for a key with nested keys. ``legal`` is empty if a component checks the
    value instead of the schema.
    """

    name: str
    default: str | None
    comment: str
    legal: str


@dataclass(frozen=True)
class Option:
    """An option of a group: its description, the options it extends and the keys it sets."""

    name: str
    comment: str
    extends: tuple[str, ...]
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Group:
    """A group: its default option, the keys shared by all options, and the options."""

    name: str
    default: str
    keys: tuple[Key, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Section:
    """A titled section of keys outside the groups."""

    title: str
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Reference:
    """All sections and groups in the order of ``config.yaml``."""

    sections: tuple[Section, ...]
    groups: tuple[Group, ...]


def reference(conf: Path) -> Reference:
    """Read the reference from a configuration folder.

    Args:
        conf: The folder, such as ``conf/``.
    """
    file = _File(conf / "config.yaml")
    defaults = {
        group: ", ".join(option) if isinstance(option, list) else str(option or "none")
        for entry in file.plain["defaults"]
        if isinstance(entry, dict)
        for group, option in entry.items()
        if not group.startswith("override ")
    }
    titled: dict[str, list[Key]] = {}
    for title, key in file.keys(""):
        titled.setdefault(title, []).append(key)
    groups = [_group(conf, name, default) for name, default in {**defaults, LAUNCHER: "basic"}.items()]
    return Reference(tuple(Section(title, tuple(keys)) for title, keys in titled.items()), tuple(groups))


def _group(conf: Path, name: str, default: str) -> Group:
    base = conf / name / f"{BASE}.yaml"
    shared = _keys(_File(base), name) if base.is_file() else ()
    options = tuple(_option(path, name) for path in sorted((conf / name).glob("[!_]*.yaml")))
    return Group(name, default, shared, options)


def _option(path: Path, group: str) -> Option:
    file = _File(path)
    extends = [each for each in file.plain.get("defaults", ()) if isinstance(each, str) and not each.startswith("_")]
    return Option(path.stem, file.header, tuple(extends), _keys(file, group))


def _keys(file: _File, group: str) -> tuple[Key, ...]:
    """List the keys that a file sets; empty for a global file, described by its header."""
    if file.package == "_global_":
        return ()
    prefix = group.replace("/", ".") if file.package is None else file.package
    return tuple(key for _, key in file.keys(prefix))


class _File:
    """A YAML file with its comments."""

    def __init__(self, path: Path) -> None:
        self._text = path.read_text(encoding="utf-8")
        self._lines = self._text.splitlines()
        self.plain: Mapping[str, Any] = yaml.load(self._text, LOADER)
        first = list(_leading(self._lines))
        packages = [line.split()[-1] for line in first if line.startswith("# @package")]
        self.package = packages[0] if packages else None
        self.header = " ".join(line.removeprefix("#").strip() for line in first if not line.startswith("# @package"))

    def keys(self, prefix: str) -> Iterator[tuple[str, Key]]:
        """Yield every key with the title of its section; nested keys follow their parent."""
        root: Any = yaml.compose(self._text, LOADER)
        yield from self._below(root, prefix, "")

    def _below(self, node: yaml.MappingNode, prefix: str, title: str) -> Iterator[tuple[str, Key]]:
        for name, value in node.value:
            if name.value in {"defaults", "hydra"} or name.value.startswith("_"):
                continue
            if not prefix and (above := self._lines[name.start_mark.line - 1]).startswith("# "):
                title = above.removeprefix("# ")
            dotted = f"{prefix}.{name.value}" if prefix else name.value
            nested = isinstance(value, yaml.MappingNode) and not value.flow_style
            comment = self._comment(value if _inline(value) else name)
            if not nested:
                yield title, Key(dotted, self._one_line(value), comment, legal_values(dotted))
                continue
            if comment:
                yield title, Key(dotted, None, comment, "")
            yield from self._below(value, dotted, title)

    def _one_line(self, value: yaml.Node) -> str:
        """Return the source of a value on one line."""
        if isinstance(value, yaml.SequenceNode) and not value.flow_style:
            return f"[{', '.join(map(self._one_line, value.value))}]"
        return " ".join(self._text[value.start_mark.index : value.end_mark.index].split())

    def _comment(self, node: yaml.Node) -> str:
        """Return the comment after a node, at the end of its line."""
        mark = node.end_mark
        match = re.match(r":?\s+#\s*(.*)", self._lines[mark.line][mark.column :])
        return match[1].rstrip() if match else ""


def _leading(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("#"):
            return
        yield line


def _inline(value: yaml.Node) -> bool:
    return isinstance(value, yaml.ScalarNode) or bool(getattr(value, "flow_style", False))
