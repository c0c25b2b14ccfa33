"""Locations of configuration files and of results."""

from __future__ import annotations

import datetime
from pathlib import Path


def output_folder(kind: str = "") -> Path:
    """Name a folder under ``outputs/`` by the time and an optional ``kind``; do not create it."""
    return Path("outputs") / datetime.datetime.now().strftime(f"%Y-%m-%d/%H-%M-%S-%f{kind and '-'}{kind}")


def conf_folder() -> Path:
    """Find the folder ``conf``: in the installed package, or at the top of a repository checkout.

    Returns:
        The absolute path.

    Raises:
        FileNotFoundError: If the installation lacks the folder.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"the conf folder of keyneurons is missing (searched near {package})")
