"""``manifest.json``: the files of a publication with their digests, its version and licences."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt

from keyneurons.artifacts.plain import Strict, Versioned, read_json, validate
from keyneurons.atomic_files import write_json
from keyneurons.catalogue.licences import Licences
from keyneurons.digests import file_digest
from keyneurons.version import __version__

MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
FORMAT = 1
IGNORED = frozenset({".git", ".gitattributes", ".cache"})
"""Entries that git and the hub add at the top of a publication."""
_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?", re.ASCII)


def check_file_name(name: str) -> str:
    """Reject a name of a file that is not in a publication or one folder below.

    Raises:
        ValueError: if the name is not of this form, such as a path that leads out of the folder.
    """
    if not _NAME.fullmatch(name) or name == MANIFEST_FILE:
        raise ValueError(f"{name[:80]!r} is not the name of a file of a publication")
    return name


class File(Strict):
    """Size and SHA-256 of a file."""

    bytes: NonNegativeInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Versioned):
    """A publication: version of its format and of keyneurons, licences, and files by name."""

    supported = FORMAT
    keyneurons: Annotated[str, Field(min_length=1)]
    licences: Licences
    files: Mapping[Annotated[str, AfterValidator(check_file_name)], File]


def write_manifest(folder: Path, licences: Licences) -> None:
    """Write the manifest of all files in a folder."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
        for name in sorted(file_names(folder))
    }
    facts = {"format": FORMAT, "keyneurons": __version__, "licences": licences.model_dump(), "files": files}
    write_json(folder / MANIFEST_FILE, facts)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a publication.

    Raises:
        ValueError: if it is missing, damaged or of another version.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ValueError(f"{folder} is not a publication: {MANIFEST_FILE} missing")
    return validate(Manifest, read_json(path), path)


def file_names(folder: Path) -> frozenset[str]:
    """Names of all files of a folder, relative to it.

    Raises:
        ValueError: if it contains a link or a special file.
    """
    names = set[str]()
    for parent, folders, files in os.walk(folder):
        if Path(parent) == folder:
            folders[:] = [name for name in folders if name not in IGNORED]
            files = [name for name in files if name not in IGNORED]
        for path in (Path(parent, name) for name in [*folders, *files]):
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
                raise ValueError(f"{path} is {kind}; a publication contains only regular files")
        names.update(Path(parent, name).relative_to(folder).as_posix() for name in files)
    return frozenset(names)


def check_names(manifest: Manifest, names: Collection[str], source: object) -> None:
    """Check that a source has exactly the files of its manifest.

    Raises:
        ValueError: if a file is missing or not listed.
    """
    if missing := sorted(manifest.files.keys() - set(names)):
        raise ValueError(f"{source} lacks {', '.join(missing)}, which its {MANIFEST_FILE} lists")
    if extra := sorted(set(names) - manifest.files.keys() - {MANIFEST_FILE}):
        raise ValueError(f"{source} contains {', '.join(extra)[:200]}, which its {MANIFEST_FILE} does not list")


def check_file(manifest: Manifest, name: str, path: Path, source: object) -> None:
    """Check size and digest of a file.

    Args:
        manifest: the manifest.
        name: name of the file in the publication.
        path: the file.
        source: the publication, for errors.

    Raises:
        ValueError: if the file differs from the manifest.
    """
    expected, size = manifest.files[name], path.stat().st_size
    if size != expected.bytes:
        raise ValueError(f"{name} of {source} has {size} bytes, its {MANIFEST_FILE} says {expected.bytes}")
    if (digest := file_digest(path)) != expected.sha256:
        raise ValueError(
            f"{name} of {source} has SHA-256 {digest[:12]}..., its {MANIFEST_FILE} says {expected.sha256[:12]}..."
        )
