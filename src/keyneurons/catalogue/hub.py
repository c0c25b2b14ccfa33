"""Publications in dataset repositories of the Hugging Face hub."""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from keyneurons.catalogue.manifest import IGNORED, MANIFEST_FILE, file_names
from keyneurons.progress import stage

SCHEME = "hf://"
FORM = "hf://datasets/OWNER/NAME[@REVISION][/FOLDER]"
_PLACE = re.compile(
    r"hf://(?:datasets/)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<folder>[\w.-]+(?:/[\w.-]+)*))?/?",
    re.ASCII,
)


@dataclass(frozen=True)
class HubPlace:
    """A folder of a dataset repository at a revision; the empty folder is the repository's top."""

    repo: str
    revision: str | None
    folder: str

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"hf://datasets/{self.repo}{revision}{self.folder and '/'}{self.folder}"

    def inside(self, name: str) -> str:
        """The path of a file in the repository."""
        return f"{self.folder}/{name}" if self.folder else name


def parse_place(text: str) -> HubPlace | None:
    """The place that an address names; None if it is the path of a folder.

    Raises:
        ValueError: if the address is of another form.
    """
    if "://" not in text:
        return None
    match = _PLACE.fullmatch(text)
    owner = "" if match is None else match["repo"].partition("/")[0]
    parts = [] if match is None else [*match["repo"].split("/"), *(match["folder"] or "").split("/")]
    if match is None or owner in {"datasets", "models", "spaces", "buckets"} or {".", ".."} & set(parts):
        raise ValueError(f"a place is a folder or {FORM}, got {text!r}")
    return HubPlace(match["repo"], match["revision"], match["folder"] or "")


def upload(folder: Path, place: HubPlace, message: str, *, private: bool) -> str:
    """Upload all files of a publication in one commit; the repository is made if it is missing.

    Args:
        folder: the publication.
        place: the destination, which must have no files.
        message: the message of the commit.
        private: whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        ValueError: if the destination has files, or the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    with _refusals(place), stage(f"sending to {place}"):
        api.create_repo(place.repo, repo_type="dataset", private=private or None, exist_ok=True)
        names, head = _names(place)
        above, _ = _names(replace(place, folder=""))
    if names:
        raise ValueError(f"{place} has files ({', '.join(sorted(names))[:80]}); choose another repository or folder")
    if place.folder and MANIFEST_FILE in above:
        raise ValueError(
            f"{place} would lie inside the publication hf://datasets/{place.repo}; choose another repository"
        )
    with _refusals(place), stage(f"sending to {place}"):
        files = [CommitOperationAdd(place.inside(name), str(folder / name)) for name in sorted(file_names(folder))]
        commit = api.create_commit(
            place.repo, files, commit_message=message, repo_type="dataset", revision=place.revision, parent_commit=head
        )
    return str(commit.commit_url)


@dataclass(frozen=True)
class HubSource:
    """The files of a publication at one commit of a repository."""

    place: HubPlace
    commit: str
    names: frozenset[str]

    @classmethod
    def open(cls, place: HubPlace) -> HubSource:
        """List the files of a place.

        Raises:
            ValueError: if the hub refuses.
        """
        with _refusals(place):
            names, commit = _names(place)
        return cls(place, commit, names)

    def copy(self, name: str, path: Path) -> None:
        """Download a file and copy it to a path.

        Raises:
            ValueError: if the hub refuses.
        """
        from huggingface_hub import hf_hub_download

        with _refusals(self.place):
            inside = self.place.inside(name)
            file = hf_hub_download(self.place.repo, inside, repo_type="dataset", revision=self.commit)
        shutil.copyfile(file, path)

    def __str__(self) -> str:
        return str(self.place)


def _names(place: HubPlace) -> tuple[frozenset[str], str]:
    """Names of the files in the folder of a repository, and the commit."""
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(place.repo, revision=place.revision)
    every = [sibling.rfilename for sibling in info.siblings or []]
    own = [name.removeprefix(place.inside("")) for name in every if name.startswith(place.inside(""))]
    return frozenset(name for name in own if name.partition("/")[0] not in IGNORED), str(info.sha)


@contextmanager
def _refusals(place: HubPlace) -> Generator[None]:
    """Turn all errors of the client and the network into one line.

    Raises:
        ValueError: for every such error.
    """
    try:
        yield
    except Exception as error:  # of the client, of its HTTP library, and of validation
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        told = getattr(error, "server_message", None)
        more = f" ({told})" if told and told not in reason else ""
        raise ValueError(f"the Hugging Face hub refuses {place}: {reason}{more}") from error
