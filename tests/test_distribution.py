"""Wheel and source distribution: contents, metadata, and a run from an installed wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from keyneurons.version import __version__

ROOT = Path(__file__).parents[1]
SMALL = (
    "control=[random,majority]",
    "control.random.sets=2",
    "per_tag.random_sets=1",
    "worth.sizes=0",
    "reliability.halves=0",
    "reliability.redundancy=false",
    "reliability.confounds=false",
)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


def test_the_wheel_holds_package_options_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (licence,) = (name for name in names if name.endswith("licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    packaged = {name.removeprefix("keyneurons/conf/") for name in names if name.startswith("keyneurons/conf/")}
    conf = ROOT / "conf"
    assert packaged == {str(path.relative_to(conf)) for path in conf.rglob("*") if path.is_file()}
    modules = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert modules <= names
    assert not any(name.startswith(("tests/", "docs/")) for name in names)


def test_the_metadata_are_those_of_this_version(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(name).decode())
    assert (fields["Name"], fields["Version"], fields["License-Expression"]) == (
        "keyneurons",
        __version__,
        "Apache-2.0",
    )
    assert fields.get_payload() == (ROOT / "README.md").read_text("utf-8")
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_source_distribution_can_be_built_again(distributions: Path, wheel: Path, tmp_path: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(command, cwd=source, capture_output=True, check=True)
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert first.namelist() == second.namelist()


@pytest.mark.slow
def test_the_installed_wheel_runs_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are those of this environment; the package is the installed one."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    empty = tmp_path / "empty"
    empty.mkdir()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = subprocess.run(
        [python, "-c", "import keyneurons; print(keyneurons.__file__)"],
        cwd=empty,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    done = subprocess.run(
        [python.with_name("keyneurons"), *SMALL], cwd=empty, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy on test words" in done.stdout
    (run,) = (empty / "outputs").glob("*/*")
    assert (run / "key_neurons.json").is_file()
