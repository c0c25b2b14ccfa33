"""Where configuration files are, and where results go."""

from __future__ import annotations

import datetime
from pathlib import Path


def output_folder(kind: str = "") -> Path:
    """A folder under ``outputs/`` named by the time, like those of runs; it is not made. ``kind`` ends its name."""
    return Path("outputs") / datetime.datetime.now().strftime(f"%Y-%m-%d/%H-%M-%S-%f{kind and '-'}{kind}")


def conf_folder() -> Path:
    """The folder ``conf``, absolute: beside the package in a wheel, at the top of the repository in a checkout.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"this installation of keyneurons lacks its conf folder (looked beside {package})")
