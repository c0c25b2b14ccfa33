"""Passes over a text that fill the arrays of the cache, in one process or several."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from numpy import ndarray

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.capture import Capture, capture
from keyneurons.activations.extract import Taken, extract, rows_of
from keyneurons.activations.partial import PartialArrays
from keyneurons.activations.settings import ReadingSettings
from keyneurons.progress import stage
from keyneurons.records import Sentence, Site

if TYPE_CHECKING:
    from lightning.fabric import Fabric

log = logging.getLogger(__name__)


def fill(
    settings: ReadingSettings,
    encoded: list[Encoded],
    partials: Mapping[Site, PartialArrays],
    places: Mapping[Site, Sequence[int]],
    name: str,
    rank: int = 0,
    number: int = 1,
) -> None:
    """Run every ``number``-th batch of the plan, starting at ``rank``, and write the activations.

    A second thread checks and writes a batch while the next one is computed.

    Raises:
        ValueError: an activation is not finite.
    """
    plan = settings.batches(encoded)[rank::number]
    done = _resume(partials, rows_of(encoded, plan))

    def write(rows: Int[ndarray, " some"], taken: Mapping[Site, Mapping[int, Taken]]) -> None:
        for site, of_site in taken.items():
            values = {i: settings.checked(kept, site, i).numpy() for i, kept in of_site.items()}
            partials[site].put(rows, values)

    with capture(settings.model.network, settings.model.family, places) as reading, ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for rows, taken in passes(settings, reading, encoded, plan, done, name):
            if writing is not None:
                writing.result()
            writing = writer.submit(write, rows, taken)
        if writing is not None:
            writing.result()


def _resume(partials: Mapping[Site, PartialArrays], rows: Sequence[Int[ndarray, " _"]]) -> int:
    """Resume after the steps that all arrays have completed, or restart if an array is damaged."""
    done = min(partial.steps_done for partial in partials.values())
    if not all(partial.intact(rows) for partial in partials.values()):
        log.warning("the arrays of an interrupted extraction are damaged; extraction restarts")
        done = 0
    for partial in partials.values():
        partial.resume_from(rows[:done])
    return done


def fill_share(
    fabric: Fabric,
    settings: ReadingSettings,
    sentences: Sequence[Sentence],
    folders: Mapping[Site, Path],
    places: Mapping[Site, Sequence[int]],
    name: str,
) -> None:
    """Fill this process's share of the batches in arrays opened by the first process.

    Args:
        fabric: rank and device of this process.
        settings: the reading settings.
        sentences: the sentences of one split.
        folders: folder of the arrays by site.
        places: layers to read by site.
        name: name of the split in messages.
    """
    rank, number = fabric.global_rank, fabric.world_size
    settings = replace(settings, model=settings.model.unloaded(str(fabric.device)))
    partials = {site: PartialArrays.open_shared(folders[site], layers, rank) for site, layers in places.items()}
    fill(settings, settings.encode(sentences), partials, places, name, rank, number)
    for partial in partials.values():
        partial.checkpoint()
        partial.close()


def passes(
    settings: ReadingSettings,
    reading: Capture,
    encoded: list[Encoded],
    plan: list[list[int]],
    done: int,
    name: str,
    *,
    to_cpu: bool = True,
) -> Iterator[tuple[Int[ndarray, " some"], Mapping[Site, Mapping[int, Taken]]]]:
    """Run the remaining batches of the plan, and show the progress."""
    n_words = sum(len(encoded[i].reads) for batch in plan for i in batch)
    log.info("reading %d words of %s (%s) in %d passes", n_words, name, ", ".join(reading.sites), len(plan))
    n_done = sum(len(encoded[i].reads) for batch in plan[:done] for i in batch)
    with stage(f"reading activations of {name}", total=n_words, unit="words", first=n_done) as progress:
        for rows, taken in extract(
            encoded,
            plan[done:],
            reading,
            settings.model.device,
            getattr(torch, settings.dtype),
            causal=settings.model.family.causal,
            pad_left=settings.model.tokenizer.padding_side == "left",
            to_cpu=to_cpu,
        ):
            for site, of_site in taken.items():
                _check_width(settings, site, of_site)
            yield rows, taken
            progress.advance(len(rows))


def _check_width(settings: ReadingSettings, site: Site, taken: Mapping[int, Taken]) -> None:
    for layer, kept in taken.items():
        if (width := kept.values.shape[1]) != (expected := settings.model.width(site)):
            raise ValueError(f"{site} of layer {layer} has {width} neurons, but the model's config says {expected}")
