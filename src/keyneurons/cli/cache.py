"""The command ``cache``: lists and prunes cached activations and probe results."""

from __future__ import annotations

from collections.abc import Iterator

from keyneurons.activations.store import ActivationStore
from keyneurons.build.probing import build_results
from keyneurons.config.schema import Config

GIGABYTE = 10**9


def list_cache(config: Config) -> Iterator[str]:
    """One line for each entry, and the totals."""
    store, results = _store(config), build_results(config)
    entries, skipped = store.summaries()
    for entry in entries:
        key = entry["key"]
        yield (
            f"{entry['folder'].name}  {key['model']} ({key['revision']}), text {key['texts'][:8]}, "
            f"read at {key['read_at']}: "
            f"{_count(len(entry['arrays']), 'array', 'arrays')}, {entry['bytes'] / GIGABYTE:.2f} GB, "
            f"used {entry['days']:.1f} days ago"
        )
    yield from skipped
    total = sum(entry["bytes"] for entry in entries) / GIGABYTE
    yield f"{_count(len(entries), 'entry', 'entries')}, {total:.2f} GB in {store.folder}"
    number, size = results.size()
    yield f"{_count(number, 'probe result', 'probe results')}, {size / GIGABYTE:.2f} GB in {results.folder}"


def prune_cache(config: Config, older_than: float) -> Iterator[str]:
    """Remove what has not been used for some days; one line for each kind, and for each failure."""
    store, results = _store(config), build_results(config)
    removed, skipped = store.prune(older_than)
    yield from skipped
    yield f"removed {_count(len(removed), 'entry', 'entries')} from {store.folder}"
    n_results, kept = results.prune(older_than)
    yield from kept
    yield f"removed {_count(n_results, 'probe result', 'probe results')} from {results.folder}"


def _store(config: Config) -> ActivationStore:
    return ActivationStore(config.cache.expanduser() / "activations")


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"
