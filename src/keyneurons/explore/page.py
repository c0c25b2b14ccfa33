"""The page: its controls, and the server that answers them on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from keyneurons.explore import views
from keyneurons.explore.lesions import Change
from keyneurons.explore.neurons import neurons_by_name
from keyneurons.explore.own_server import OnlyThisServer
from keyneurons.explore.session import MOST_NEW_TOKENS, Session
from keyneurons.explore.state import VIEWS, State
from keyneurons.explore.typed_text import MOST_CHARACTERS

HOST = "127.0.0.1"
CSS = Path(__file__).with_name("page.css")
SYSTEM = ("system-ui", "sans-serif"), ("ui-monospace", "Consolas", "monospace")
LABELS = {"read": "Read", "lesion": "Lesion", "neurons": "Neurons"}
ADDRESS = f"""(run, text, tag, neuron, factor, draw, tokens, view) => {{
  text = (text || "").slice(0, {MOST_CHARACTERS + 1});
  history.replaceState(null, "", "?" + new URLSearchParams({{run, text, tag, neuron, factor, draw, tokens, view}}));
}}"""
"""Writes the state into the address; the arguments are the fields of ``State``."""


def make_page(session: Session) -> gr.Blocks:
    """Build the page of some runs."""
    page: gr.Blocks = _Page(session).blocks
    return page


def serve(page: gr.Blocks, port: int, *, browser: bool) -> None:
    """Serve the page on 127.0.0.1 in a thread, without sharing, and open it in a browser."""
    page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        inbrowser=browser,
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        root_path="",
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=SYSTEM[0], font_mono=SYSTEM[1]),
        css=CSS.read_text(encoding="utf-8"),
        app_kwargs={
            "middleware": [
                Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]),
                Middleware(OnlyThisServer),
            ]
        },
    )


class _Page:
    """The controls in the order of the fields of ``State``, the outputs and their events."""

    def __init__(self, session: Session) -> None:
        self.session = session
        state, _ = State.of({}, session)
        with gr.Blocks(title="keyneurons explore", analytics_enabled=False) as self.blocks:
            gr.HTML(f"<h1>keyneurons explore</h1>{views.header(session.runs.values())}")
            self._make_controls(state)
            self.notes = gr.HTML(elem_id="notes")
            self.view = gr.Textbox(state.view, visible="hidden", elem_id="view")
            with gr.Tabs(selected=state.view) as self.tabs:
                self._make_tabs(state)
            self.controls = [self.run, self.text, self.tag, self.neuron, self.factor, self.draw, self.tokens, self.view]
            self._connect()

    def _make_controls(self, state: State) -> None:
        runs = [(f"{run.name}: {run.method} ({key})", key) for key, run in self.session.runs.items()]
        run = self.session.run(state.run)
        with gr.Row():
            self.run = gr.Dropdown(runs, value=state.run, label="Run", elem_id="run", visible=len(runs) > 1 or "hidden")
            self.tag = gr.Dropdown(list(run.tags_with_neurons), value=state.tag, label="Tag", elem_id="tag")
            names = list(neurons_by_name(run, state.tag))
            self.neuron = gr.Dropdown(names, value=state.neuron, label="Key neuron", elem_id="neuron")
        with gr.Row():
            self.text = gr.Textbox(
                state.text, label="Text (a sentence a line)", lines=2, max_lines=8, elem_id="text", scale=8
            )
            self.show = gr.Button("Show", variant="primary", elem_id="show", scale=1, min_width=90)

    def _make_tabs(self, state: State) -> None:
        self.tab_of = {}
        with gr.Tab(LABELS["read"], id="read") as self.tab_of["read"]:
            self.reading = gr.HTML(elem_id="reading")
        with gr.Tab(LABELS["lesion"], id="lesion") as self.tab_of["lesion"]:
            with gr.Row():
                self.factor = gr.Number(state.factor, label="Factor", elem_id="factor", min_width=120)
                self.off = gr.Button("Off (0)", elem_id="off", size="sm", min_width=90)
                self.double = gr.Button("Double (2)", elem_id="double", size="sm", min_width=90)
                self.draw = gr.Number(state.draw, label="Random set", precision=0, elem_id="draw", min_width=120)
                self.tokens = gr.Slider(
                    1, MOST_NEW_TOKENS, state.tokens, step=1, label="Tokens to continue", elem_id="tokens"
                )
            self.effect = gr.HTML(elem_id="effect")
            gr.HTML("<h3>Continuation (greedy)</h3>")
            self.continuation = gr.HTML(elem_id="continuation")
        with gr.Tab(LABELS["neurons"], id="neurons") as self.tab_of["neurons"]:
            self.neurons = gr.HTML(elem_id="neurons")

    def _connect(self) -> None:
        """Connect every control with the answer of the selected tab, and with the address."""
        # In one queue, so that a late answer is the last; without preprocessing, which rejects
        # choices that another event has just replaced.
        common: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "hidden",
            "preprocess": False,
            "concurrency_id": "page",
            "concurrency_limit": 1,
        }
        answers = [self.reading, self.effect, self.neurons]

        def then_answer(event: Any) -> None:
            event = event.then(None, self.controls, None, js=ADDRESS, **common)
            event = event.then(self._answer, self.controls, answers, **common)
            event.then(self._continue, self.controls, self.continuation, **common)

        restored = [*self.controls, self.tabs, self.notes]
        then_answer(self.blocks.load(self._restore, None, restored, **common))
        once: dict[str, Any] = {**common, "trigger_mode": "always_last"}
        changed = [self.show.click, self.text.submit, self.neuron.input, self.factor.change, self.draw.change]
        then_answer(gr.on([*changed, self.tokens.release], lambda: "", None, self.notes, **once))
        then_answer(self.run.input(self._of_run, [self.run, self.tag], [self.tag, self.neuron], **once))
        then_answer(self.tag.input(self._of_tag, [self.run, self.tag], self.neuron, **once))
        # Set in the browser: the first tab is selected when the page opens too, and an answer of
        # the server to that could come after the view of the address.
        for view, tab in self.tab_of.items():
            tab.select(None, None, self.view, js=f"() => '{view}'", **common)
        then_answer(self.view.change(None, None, None, js="() => []", **once))
        self.off.click(lambda: 0, None, self.factor, **common)
        self.double.click(lambda: 2, None, self.factor, **common)

    def _restore(self, request: gr.Request) -> list[Any]:
        """The controls of the address that the browser has opened."""
        state, notes = State.of(dict(request.query_params), self.session)
        run = self.session.run(state.run)
        values: list[Any] = list(astuple(state))
        values[2] = gr.Dropdown(list(run.tags_with_neurons), value=state.tag)
        values[3] = gr.Dropdown(list(neurons_by_name(run, state.tag)), value=state.neuron)
        return [*values, gr.Tabs(selected=state.view), views.notes(notes)]

    def _of_run(self, run: str, tag: str) -> tuple[Any, Any]:
        tags = list(self.session.run(run).tags_with_neurons)
        tag = tag if tag in tags else tags[0]
        return gr.Dropdown(tags, value=tag), self._of_tag(run, tag)

    def _of_tag(self, run: str, tag: str) -> Any:
        names = list(neurons_by_name(self.session.run(run), tag))
        return gr.Dropdown(names, value=names[0])

    def _answer(self, *values: Any) -> list[Any]:
        """The answer of the selected tab; the others stay as they are."""
        state = State(*values)
        answer = {"read": self._reading, "lesion": self._effect, "neurons": self._neurons}[state.view]
        html = _or_message(lambda: answer(state))
        return [html if view == state.view else gr.skip() for view in VIEWS]

    def _continue(self, *values: Any) -> Any:
        state = State(*values)
        if state.view != "lesion":
            return gr.skip()

        def texts() -> str:
            return views.continuations(
                state.tag, self.session.continuations(state.run, state.text, _change(state), int(state.tokens))
            )

        return _or_message(texts)

    def _reading(self, state: State) -> str:
        answer = self.session.read(state.run, state.text, state.tag, state.neuron)
        return views.reading(self.session.run(state.run), answer)

    def _effect(self, state: State) -> str:
        change = _change(state)
        return views.lesion(self.session.run(state.run), change, self.session.lesion(state.run, state.text, change))

    def _neurons(self, state: State) -> str:
        own = self.session.neurons(state.run, state.tag)
        return views.neurons(self.session.run(state.run), state.tag, own, state.neuron)


def _change(state: State) -> Change:
    """The lesion of a state.

    Raises:
        ValueError: a field is empty or not legal.
    """
    for name, value in (("factor", state.factor), ("random set", state.draw)):
        if value is None:
            raise ValueError(f"The {name} must be a number, got none.")
    return Change(state.tag, float(state.factor), int(state.draw))


def _or_message(answer: Callable[[], str]) -> str:
    """An answer as HTML, or the message why there is none."""
    try:
        return answer()
    except ValueError as error:
        return views.notes([str(error)])
