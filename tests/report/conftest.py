"""Lets beartype check fields that are protocols: it asks isinstance of them when the module is imported."""

from __future__ import annotations

from typing import runtime_checkable

from keyneurons.data.sources import TreebankSource

runtime_checkable(TreebankSource)
