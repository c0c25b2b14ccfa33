import io
import logging
import subprocess
import sys
import threading
import time

import pytest

from keyneurons.progress import Progress, duration, stage

SHORT = 0.05


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """Called in a test, not in a fixture, since pytest sets stderr again between the two."""
    stream = Terminal()
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="keyneurons.progress")
    return lambda: [record.getMessage() for record in caplog.records]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.endswith("(_show)")]


def test_a_stage_without_a_terminal_is_one_line_in_the_log(lines, capsys):
    with stage("permutations", total=1000, after=SHORT) as progress:
        progress.advance(120)
        time.sleep(10 * SHORT)
        progress.advance(880)
    (line,) = lines()
    assert line.startswith("permutations: 120 of 1,000, about ")
    assert line.endswith(" s left")
    assert capsys.readouterr().err == ""


def test_a_short_stage_shows_nothing(lines, monkeypatch):
    terminal = on_terminal(monkeypatch)
    with stage("permutations", total=1000) as progress:
        progress.advance()
    assert lines() == []
    assert terminal.getvalue() == ""


def test_a_blocking_call_shows_what_it_does(lines, monkeypatch):
    terminal = on_terminal(monkeypatch)
    with stage("loading the model", after=SHORT):
        time.sleep(4 * SHORT)
    assert lines() == ["loading the model"]
    assert "loading the model [00:00]" in terminal.getvalue()


def test_a_bar_shows_how_far_a_stage_is_and_is_removed(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with stage("random sets", total=99, unit="sets", after=SHORT) as progress:
        progress.advance(33)
        time.sleep(0.5)
    shown = terminal.getvalue()
    assert "random sets:  33%" in shown
    assert "33/99" in shown
    assert "sets/s" in shown
    assert shown.endswith("\r")
    assert shown.split("\r")[-2].strip() == ""


def test_steps_done_before_count_as_done_but_not_as_speed():
    progress = Progress("words", 100, "words", first=50, started=time.monotonic() - 10, done=60)
    assert progress.text() == "words: 60 of 100 words, about 40 s left"


def test_the_time_left_is_unknown_before_the_first_step():
    assert Progress("words", 100, "words", 0, time.monotonic(), 0).text() == "words: 0 of 100 words"


def test_steps_are_counted_without_a_total():
    assert Progress("reading", None, "files", 0, time.monotonic(), 1234).text() == "reading: 1,234 files"


def test_exceptions_pass_and_the_thread_ends(monkeypatch):
    on_terminal(monkeypatch)
    before = len(threads())

    def fail():
        with stage("outer", after=SHORT), stage("inner", after=SHORT):
            time.sleep(3 * SHORT)
            assert len(threads()) == before + 2
            raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        fail()
    assert len(threads()) == before


def test_nested_stages_are_shown_together(lines, monkeypatch):
    terminal = on_terminal(monkeypatch)
    with stage("layers", total=2, after=SHORT) as outer:
        for _ in range(2):
            with stage("words", after=3 * SHORT):
                time.sleep(6 * SHORT)
            outer.advance()
    assert lines() == ["layers: 0 of 2", "words", "words"]
    assert "\n" in terminal.getvalue()  # the inner bar is on a line of its own
    assert "50%" in terminal.getvalue()


def test_the_variable_of_tqdm_turns_bars_off(lines, monkeypatch):
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with stage("layers", after=SHORT):
        time.sleep(3 * SHORT)
    assert lines() == ["layers"]
    assert terminal.getvalue() == ""


def test_a_generator_that_is_left_early_ends_its_stage(monkeypatch):
    on_terminal(monkeypatch)

    def steps():
        with stage("steps", after=SHORT) as progress:
            for number in range(9):
                yield number
                progress.advance()

    before, running = len(threads()), steps()
    next(running)
    running.close()
    assert len(threads()) == before


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (15.4, "15 s"), (99.0, "99 s"), (100.0, "2 min"), (5900.0, "98 min"), (9e3, "2.5 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_module_imports_the_standard_library_only():
    code = "import sys, keyneurons.progress; print('tqdm' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
