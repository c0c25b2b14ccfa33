"""The state of the page, which its address contains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyneurons.explore.neurons import neurons_by_name
from keyneurons.explore.session import MOST_NEW_TOKENS, Session

VIEWS = ("read", "lesion", "neurons")
TEXT = "The old woman said that her children were playing quietly in the garden."
"""The text of a page without a text in its address."""


@dataclass(frozen=True)
class State:
    """Values of all controls of the page; ``view`` is the selected tab."""

    run: str
    text: str
    tag: str
    neuron: str
    factor: float
    draw: int
    tokens: int
    view: str

    @classmethod
    def of(cls, query: Mapping[str, str], session: Session) -> tuple[State, tuple[str, ...]]:
        """The state of an address; a value that is not legal is replaced by the default.

        Args:
            query: the parameters of the address.
            session: the runs.

        Returns:
            The state, and a note for every value that was replaced.
        """
        notes: list[str] = []

        def legal(name: str, values: Mapping[str, object] | tuple[str, ...], default: str) -> str:
            value = query.get(name, default)
            if value in values:
                return value
            notes.append(f"The address has {name}={value[:80]}; shown is {default}.")
            return default

        def number(name: str, low: float, high: float, default: float) -> float:
            try:
                value = float(query.get(name, default))
            except ValueError:
                value = float("nan")
            if low <= value <= high:
                return value
            notes.append(f"The address has {name}={query[name][:80]}; shown is {default:g}.")
            return default

        run = legal("run", session.runs, next(iter(session.runs)))
        tags = session.run(run).tags_with_neurons
        tag = legal("tag", tags, "NOUN" if "NOUN" in tags else tags[0])
        names = neurons_by_name(session.run(run), tag)
        neuron = legal("neuron", names, next(iter(names)))
        factor, draw = number("factor", -100, 100, 0), number("draw", 0, 2**31 - 1, 0)
        tokens = number("tokens", 1, MOST_NEW_TOKENS, 8)
        view = legal("view", VIEWS, VIEWS[0])
        text = query.get("text", TEXT)
        return cls(run, text, tag, neuron, factor, int(draw), int(tokens), view), tuple(notes)
