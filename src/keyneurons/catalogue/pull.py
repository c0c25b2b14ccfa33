"""Pulls a publication from a folder or the Hugging Face hub, and verifies it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keyneurons.catalogue.folders import new_folder
from keyneurons.catalogue.hub import HubPlace, HubSource, parse_place
from keyneurons.catalogue.manifest import MANIFEST_FILE, check_file, check_names, file_names, read_manifest
from keyneurons.catalogue.publication import check_formats


class Source(Protocol):
    """The files of a publication; its text is its address."""

    @property
    def names(self) -> frozenset[str]:
        """Names of all files."""
        ...

    def copy(self, name: str, path: Path) -> None:
        """Copy a file to a path."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """A publication in a folder, which contains no links."""

    folder: Path
    names: frozenset[str]

    @classmethod
    def open(cls, folder: Path) -> FolderSource:
        """List the files of a folder.

        Raises:
            ValueError: if it is not a folder, or contains a link or a special file.
        """
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
        return cls(folder, file_names(folder))

    def copy(self, name: str, path: Path) -> None:
        """Copy a file to a path."""
        shutil.copyfile(self.folder / name, path, follow_symlinks=False)

    def __str__(self) -> str:
        return str(self.folder)


def pull(source: str, destination: str | None = None) -> Path:
    """Copy a publication into a new folder after verifying names, digests and formats.

    Args:
        source: a folder, or ``hf://datasets/OWNER/NAME[@REVISION][/FOLDER]``.
        destination: a new or empty folder; None for the last name of the source, in the working
            directory.

    Returns:
        The folder.

    Raises:
        ValueError: if the source is not a valid publication, or the destination has files.
    """
    place = parse_place(source)
    opened: Source = FolderSource.open(Path(source).expanduser()) if place is None else HubSource.open(place)
    folder = Path(_last_name(source, place) if destination is None else destination).expanduser()
    if MANIFEST_FILE not in opened.names:
        raise ValueError(f"{opened} is not a publication: {MANIFEST_FILE} missing")
    with new_folder(folder, opened) as temporary:
        opened.copy(MANIFEST_FILE, temporary / MANIFEST_FILE)
        manifest = read_manifest(temporary)
        check_names(manifest, opened.names, opened)
        for name in manifest.files:
            (temporary / name).parent.mkdir(exist_ok=True)
            opened.copy(name, temporary / name)
            check_file(manifest, name, temporary / name, opened)
        check_formats(temporary)
    return folder


def verify(folder: Path) -> None:
    """Verify names, digests and formats of a publication in a folder.

    Raises:
        ValueError: if it is not valid.
    """
    manifest = read_manifest(folder)
    check_names(manifest, file_names(folder), folder)
    for name in manifest.files:
        check_file(manifest, name, folder / name, folder)
    check_formats(folder)


def _last_name(source: str, place: HubPlace | None) -> str:
    if place is None:
        return Path(source).expanduser().resolve().name
    return (place.folder or place.repo).rpartition("/")[2]
