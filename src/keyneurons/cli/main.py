"""Entry point of the console script."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys

from keyneurons.cli.process import keep_quiet, set_environment
from keyneurons.terminal import print_any_text


def main() -> None:
    """Start a command, a run or a sweep; report a user's mistake in one line.

    Raises:
        SystemExit: with the exit status, if it is not 0.
    """
    atexit.register(gc.freeze)  # saves 1.5 s of garbage collection at exit
    gc.set_threshold(100_000)  # garbage collection takes a third of the import time by default
    traceback_wanted = "HYDRA_FULL_ERROR" in os.environ
    set_environment()
    keep_quiet()
    print_any_text()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems send SIGTERM: like Ctrl-C
    try:
        _dispatch()
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into SystemExit
            _end("interrupted", 130)
        raise
    except BrokenPipeError:
        _end("", 1)
    except Exception as error:
        from keyneurons.cli.errors import is_mistake, one_line

        if traceback_wanted or not is_mistake(error):
            raise
        _end(f"keyneurons: error: {one_line(error, sys.argv[1:])}", 1)


def _dispatch() -> None:
    from keyneurons.cli.command_line import COMMANDS, parse
    from keyneurons.cli.help import help_or_version

    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        from keyneurons.cli import commands

        commands.run(arguments)
    elif (text := help_or_version(arguments, COMMANDS)) is not None:
        sys.stdout.write(text)
    else:
        from keyneurons.cli.launch import launch

        launch(parse(arguments))


def _end(message: str, status: int) -> None:
    if message:
        sys.stderr.write(f"{message}\n")
    sys.exit(status)
