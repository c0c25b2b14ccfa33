"""``README.md`` of an edited model: what was edited, where it comes from, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyneurons.report.markup import inline, table
from keyneurons.report.phrases import counted
from keyneurons.version import __version__

USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
```
"""


@dataclass(frozen=True)
class EditCard:
    """The facts of an edit; ``factor`` is None if the neurons are held at their mean.

    ``key`` is the content of ``key_neurons.json``, ``licence`` that of the original model.
    """

    run: str
    key: Mapping[str, Any]
    tag: str
    factor: float | None
    licence: str | None

    def facts(self) -> dict[str, Any]:
        """The same as values, for ``edit.json``."""
        shared = {name: self.key[name] for name in ("model", "dataset", "site", "method", "tag_column")}
        neurons = [{"layer": each["layer"], "neuron": each["neuron"]} for each in self.key["tags"][self.tag]]
        edit = {"mode": "mean"} if self.factor is None else {"mode": "scale", "factor": self.factor}
        return {"run": self.run, "tag": self.tag, **edit, "neurons": neurons, **shared, "keyneurons": __version__}

    def markdown(self) -> str:
        """The card."""
        key, neurons = self.key, self.key["tags"][self.tag]
        model = inline(key["model"]["id"])
        change = "held at their mean over the train words" if self.factor is None else f"multiplied by {self.factor:g}"
        rows = [(str(rank), f"{key['site']}.{n['layer']}.{n['neuron']}") for rank, n in enumerate(neurons, 1)]
        facts = [
            ("model", f"{key['model']['id']}, revision {key['model']['revision']}"),
            ("licence of the model", self.licence or "not stated"),
            ("run", self.run),
            ("method", str(key["method"])),
            ("dataset", f"{key['dataset']['id']}, digest {key['dataset']['digest']}"),
            ("code", f"keyneurons {__version__}"),
        ]
        return "\n".join([
            f"# {model} with edited neurons of {inline(self.tag)}",
            "",
            f"A copy of {model} in which {counted(len(rows), 'key neuron')} of {inline(self.tag)} at the site "
            f"`{key['site']}` are {change} at every position. All other weights are those of the model.",
            "",
            "The effect of the edit is not measured here. `keyneurons lesion=zero` or `lesion=scale` measures it "
            "on text, beside matched random neurons.",
            "",
            *table(("rank", "neuron"), rows),
            "",
            *table(("", "provenance"), facts),
            "",
            USE,
        ])
