"""The names that the schema validates equal the keys of the tables that the code uses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import get_args

from keyneurons.choices import LesionFamily, LesionMode, ModuleName
from keyneurons.lesion.modes import MODES
from keyneurons.models.families import NEEDED, Family
from keyneurons.pipeline.lesions.control_sets import CONTROL_FAMILIES


def test_names_of_lesions_and_their_control_sets() -> None:
    assert get_args(LesionMode) == tuple(MODES)
    assert get_args(LesionFamily) == tuple(CONTROL_FAMILIES)


def test_names_of_modules_are_fields_of_a_family() -> None:
    assert get_args(ModuleName) == (*NEEDED, "norm", "mlp_in", "mlp_out")
    assert {*get_args(ModuleName)} < {field.name for field in fields(Family)}


def test_the_schema_needs_no_torch() -> None:
    code = "import keyneurons.config.validation, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
