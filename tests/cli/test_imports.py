"""A command imports no heavy library that it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from user import Command, Place

from keyneurons.build.components import is_plain
from keyneurons.config.compose import checked

HEAVY = ("accelerate", "lightning", "matplotlib", "mlflow", "pandas", "sklearn", "stanza", "torchmetrics")
SCRIPT = f"""
import sys
from keyneurons.cli.main import main
try: main()
finally: print('LOADED', *(name for name in {HEAVY} if hasattr(sys.modules.get(name), '__path__')))
"""


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        (["extract"], {"lightning", "matplotlib", "mlflow", "pandas", "sklearn", "stanza", "torchmetrics"}),
        (["plan"], {"mlflow", "pandas", "sklearn", "stanza"}),
        (["cache"], {*HEAVY}),
        ([], {"stanza"}),
    ],
    ids=["extract", "plan", "cache", "run"],
)
def test_a_cached_command_imports_only_what_it_uses(
    here: Command, place: Place, environment: dict[str, str], tmp_path: Path, command: list[str], absent: set[str]
) -> None:
    given = place.small
    assert here(tmp_path, "extract", *given).status == 0
    arguments = [*command, *(given if command != ["cache"] else [])]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.splitlines()[-1].split()
    assert loaded[0] == "LOADED"
    assert not absent & set(loaded)


@pytest.mark.parametrize(
    ("override", "plain"),
    [
        ("trainer=auto", True),
        ("trainer=cpu", True),
        ("trainer=gpu", False),
        ("trainer.logger=true", False),
        ("+trainer.callbacks=[]", False),
        ("trainer._target_=lightning.pytorch.trainer.Trainer", False),
    ],
)
def test_only_the_shipped_trainers_go_unchecked(override: str, plain: bool) -> None:
    assert is_plain(checked([override]).trainer) == plain
