"""Steps of training in the names of revisions and folders."""

from __future__ import annotations

import re

_STEP = re.compile(
    r"(?<![a-z])(?P<word>(?:global[_-]?)?step|checkpoint|ckpt|epoch|iteration|iter)(?P<gap>[_-]?)"
    r"(?P<number>[0-9]{1,12})(?P<thousands>k)?(?![0-9a-z])",
    re.IGNORECASE,
)


def step_of(name: str) -> int | None:
    """The step in the name of a checkpoint: 1000 in ``step1000``, 500 in ``checkpoint-500``.

    ``step_20k`` is step 20,000. The last step of a name counts: 300 in ``stage1-step300-tokens2B``.

    Returns:
        The step, or None for a name without one.
    """
    matches = [*_STEP.finditer(name)]
    if not matches:
        return None
    return int(matches[-1]["number"]) * (1000 if matches[-1]["thousands"] else 1)


def without_step(name: str) -> str:
    """The name that the checkpoints of one training share: ``run/step_*`` of ``run/step_00064``."""
    matches = [*_STEP.finditer(name)]
    if not matches:
        return name
    last = matches[-1]
    return f"{name[: last.start()]}{last['word']}{last['gap']}*{name[last.end() :]}"
