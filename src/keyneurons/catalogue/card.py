"""``README.md`` of a publication: what was published, its evidence, provenance and licences."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keyneurons.artifacts.key_neurons import basis_name
from keyneurons.artifacts.plain import write_yaml
from keyneurons.artifacts.run_facts import RunFacts
from keyneurons.catalogue.licences import NOT_STATED, Licences
from keyneurons.catalogue.sets import TABLE_FILE
from keyneurons.models.permuted import describe_model
from keyneurons.report.markup import inline, table
from keyneurons.report.phrases import counted, describe_place
from keyneurons.runs.provenance import code_version

CONTENTS = {
    "key_neurons.json": "the sets with model, dataset and settings; the file that keyneurons reads",
    "key_neurons.csv": "the sets as a table: tag, rank, site, layer, basis, neuron, score, p_value",
    "sets.safetensors": "the sets as tensors: `neurons/TAG` (layer, neuron) and `scores/TAG`, strongest first",
    "basis.safetensors": "the principal components that the sets are units of",
    "metrics.json": "all metrics, with controls and 95 % intervals (`..._low`, `..._high`)",
    "curves.json": "metrics by layer or epoch",
    "overlap_count.csv": "key neurons shared by two tags",
    "overlap_p_value.csv": "p-values of sharing at least as many by chance",
    "lesion_effects.csv": "effects of lesions on each tag, with controls",
    "config.yaml": "the whole configuration; paths are cut to their name",
    "run.json": "name, tags and dataset of the run",
    "figures/": "figures of the run",
    "manifest.json": "size and SHA-256 of every file",
}
USE = """\
`keyneurons pull SOURCE sets` verifies all digests and writes the folder `sets`, which these commands take:

```
keyneurons selection=from_file selection.path=sets {place}
keyneurons lesion=zero lesion.neurons=sets {place}
keyneurons compare sets OTHER
keyneurons inspect sets --tag TAG
```
"""
NO_TEXT = "No sentence or word of the dataset is part of this publication."


@dataclass(frozen=True)
class Card:
    """What a card says: the contents of a publication's files.

    ``key`` is the content of ``key_neurons.json``, ``config`` that of ``config.yaml`` and
    ``summary`` the summary of the run in Markdown. ``files`` are the names of the files.
    """

    key: Mapping[str, Any]
    config: Mapping[str, Any]
    facts: RunFacts
    summary: str
    licences: Licences
    files: tuple[str, ...]

    @property
    def title(self) -> str:
        """Model, site, layers and method."""
        key = self.key
        model = describe_model(key["model"]["id"], key["model"]["random_weights"])
        return f"Key neurons of {model}, {self._place()}, by {key['method']}"

    def markdown(self) -> str:
        """The card with the header of a dataset card of the Hugging Face hub."""
        sections = {
            "Evidence": self.summary.partition("\n\n")[2].strip(),  # without its heading
            "Provenance": "\n".join(table(("", ""), self._provenance())),
            "Licences": "\n".join([*table(("", "licence"), self._licences()), "", NO_TEXT]),
            "Files": "\n".join(f"- `{name}`: {text}" for name, text in CONTENTS.items() if self._has(name)),
            "Use": USE.format(place=self._place_overrides()).rstrip(),
        }
        head = f"---\n{write_yaml(self._header())}---\n\n# {inline(self.title)}\n\n{self._description()}\n"
        return "\n".join([head, *(f"## {name}\n\n{text}\n" for name, text in sections.items())])

    def _place(self) -> str:
        return describe_place(self.key["site"], self.key["layers"], basis_name(self.key))

    def _place_overrides(self) -> str:
        """The overrides of site, layers and basis."""
        layers = ",".join(map(str, self.key["layers"]))
        layer = layers if layers.isdigit() else f"[{layers}]"
        return f"site={self.key['site']} layer={layer}{self._basis_override()}"

    def _basis_override(self) -> str:
        """The overrides of the basis; empty for neurons."""
        name = self.key.get("basis", {}).get("name")
        settings = {"pca": "basis.file=sets", "sae": "basis.file=FILE", "transcoder": "basis.file=FILE"}
        if name == "rotation":
            settings[name] = f"basis.seed={self.config['basis']['seed']}"
        return "" if name is None else f" basis={name} {settings[name]}"

    def _header(self) -> dict[str, Any]:
        licence = {} if self.licences.sets is None else {"license": self.licences.sets.lower()}
        configs = [{"config_name": "default", "data_files": TABLE_FILE}]
        tags = ["keyneurons", "interpretability", "neurons", "probing"]
        return {**licence, "pretty_name": self.title, "tags": tags, "configs": configs}

    def _description(self) -> str:
        key = self.key
        distinct = len({(n["layer"], n["neuron"]) for own in key["tags"].values() for n in own})
        most = "" if key.get("top_k") is None else f", at most {key['top_k']} per tag"
        where = "" if most == "" else " in each layer" if key.get("scope") == "layer" else " over all layers"
        read = "where the model predicts them" if key["read_at"] == "prediction" else "at the word"
        return (
            f"{counted(distinct, 'neuron')} of {counted(len(key['tags']), 'tag')} of the column "
            f"`{inline(key['tag_column'])}`{most}{where}: those that the method `{inline(key['method'])}` scores "
            f"highest on the train words of {inline(key['dataset']['id'])}, read {read}. Probes were trained on the "
            "train words and compared with controls on the test words."
        )

    def _provenance(self) -> Iterator[tuple[str, str]]:
        key, facts, model = self.key, self.facts, self.key["model"]
        yield "model", f"{describe_model(model['id'], model['random_weights'])}, revision {model['revision']}"
        yield "tokenizer", f"SHA-256 {model['tokenizer']}"
        yield "dataset", f"{key['dataset']['id']}, digest {key['dataset']['digest']}"
        yield from self._caps()
        profile = facts.dataset.profile if facts.dataset is not None else {}
        for split, size in profile.items():
            yield f"{split} split", f"{counted(size.sentences, 'sentence')}, {counted(size.words, 'word')}"
        yield "neurons", f"{self._place()}, {key['neurons_per_layer']} per layer"
        if (basis := key.get("basis")) is not None:
            yield "basis", f"{basis['name']}, digest {basis['digest']}"
        selection = self.config.get("selection") or {}
        settings = ", ".join(f"{name}={value}" for name, value in selection.items() if not name.startswith("_"))
        yield "method", key["method"] + (f" ({settings})" if settings else "")
        names = ("top_k", "scope", "sign", "threshold", "mass", "seed")
        yield "selection", ", ".join(f"{name}={key[name]}" for name in names if key.get(name) is not None)
        yield "controls", ", ".join(self.config.get("control") or {}) or "none"
        yield "code", f"keyneurons {code_version(facts.tags)}"
        when = datetime.datetime.fromtimestamp(facts.start_time / 1000, datetime.UTC)
        yield "run", f"{facts.run_id or 'not sent to MLflow'}, {when:%Y-%m-%d}"
        yield "configuration", f"fingerprint {facts.tags.get('fingerprint', 'unknown')}; config.yaml"

    def _caps(self) -> Iterator[tuple[str, str]]:
        """The limits of the splits, if any."""
        for name in ("max_sentences", "max_words"):
            caps = {split: most for split, most in self.config["dataset"][name].items() if most is not None}
            if caps:
                yield name, ", ".join(f"{split}={most}" for split, most in caps.items())

    def _licences(self) -> Iterator[tuple[str, str]]:
        key = self.key
        yield "files of this publication", self.licences.sets or NOT_STATED
        yield f"model {key['model']['id']}", self.licences.model or NOT_STATED
        yield f"dataset {key['dataset']['id']}", self.licences.dataset or NOT_STATED

    def _has(self, name: str) -> bool:
        return name == "manifest.json" or any(each == name or each.startswith(name) for each in self.files)
