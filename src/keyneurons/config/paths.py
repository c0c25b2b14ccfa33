"""Where the configuration files are: beside the package in a wheel, at the top of the repository in a checkout."""

from __future__ import annotations

from pathlib import Path


def conf_folder() -> Path:
    """The folder ``conf``, absolute.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"this installation of keyneurons lacks its conf folder (looked beside {package})")
