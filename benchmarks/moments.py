"""Time of one pass that gathers moments, compared with a bare forward pass on the same batches.

Run with ``python benchmarks/moments.py [REPEATS] [SENTENCES]``: all 30 layers of ``mlp`` of the
default model on dev sentences of the starter treebank, with three views of the activations.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common import publish, ratios, spread, time_in_turns
from extraction import BATCH_TOKENS, BOS, bare_forward, packaged_model

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.data.labels import label
from keyneurons.data.sources import Starter
from keyneurons.data.splitting import make_treebank
from keyneurons.models.language_model import LanguageModel
from keyneurons.pipeline.activations import SummedActivations
from keyneurons.pipeline.controls.reselected_task import ReselectedTask
from keyneurons.pipeline.taggings import planned_taggings
from keyneurons.records import Treebank
from keyneurons.selection.tagged_words import TaggedWords
from keyneurons.selection.views import VALUE


def reader(model: LanguageModel, folder: str) -> ActivationReader:
    store = ActivationStore(Path(folder))
    return ActivationReader(model, "mlp", tuple(range(30)), bos=BOS, batch_tokens=BATCH_TOKENS, store=store)


def capture_only(model: LanguageModel, treebank: Treebank) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for _ in reader(model, folder).stream(treebank.splits["train"], "x"):
            pass


def moments(model: LanguageModel, treebank: Treebank, planned: tuple[TaggedWords, ...]) -> None:
    """Gather the moments to an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        activations = SummedActivations.of(reader(model, folder), treebank, planned)
        activations.moments([planned[0]], [VALUE])


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    n_sentences = int(sys.argv[2]) if len(sys.argv) > 2 else 179
    model, sentences = packaged_model(), Starter().load().splits["dev"][:n_sentences]
    treebank = make_treebank("dev", dict.fromkeys(("train", "dev", "test"), sentences))
    labels = label(treebank, "upos", None, 5, first_words=True)
    alone, every = (
        planned_taggings(labels, treebank, controls, halves=halves, unseen=None, seed=0)
        for controls, halves in (((), 0), ((ReselectedTask(3, 1),), 3))
    )
    cases: dict[str, Callable[[], object]] = {
        "capture": partial(capture_only, model, treebank),
        "capture and moments of the tags": partial(moments, model, treebank, alone),
        "capture and moments of tags, 3 control labels, 3 halvings": partial(moments, model, treebank, every),
    }
    bare = bare_forward(model, sentences, one_by_one=False)
    bare()
    times = time_in_turns({"bare": bare, **cases}, repeats)
    rows = [[name, *spread(ratios(times, name, "bare")), spread(ratios(times, name, "bare", 1))[1]] for name in cases]
    words = sum(len(s.words) for s in sentences)
    publish(
        "moments",
        "One pass that gathers moments, compared with a bare forward pass",
        ["pass", "ratio: min", "median", "max", "median, CPU time"],
        rows,
        repeats=repeats,
        notes=f"""SmolLM2-135M, float32, mlp of all 30 layers, {words} words, batches of {BATCH_TOKENS} tokens,
        {len(labels.names)} tags; three views of the activations. Tokenising and writing to the cache included.""",
    )


if __name__ == "__main__":
    main()
