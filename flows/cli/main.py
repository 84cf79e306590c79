"""The command line: its commands, its error messages and its exit codes.

Logs and progress go to standard error, results to standard output. Exit code 0: done; 1: a stage failed; 2: the
request was wrong; 3: a required condition is not met; 130 or 143: interrupted. An error is one line. Each command
imports what it needs when it is called, so that a misspelt key is refused before Prefect or torch is loaded.
"""

import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from artifacts.errors import RequestError, StageError, UnmetConditionError
from artifacts.text import did_you_mean, one_line
from flows.cli import (
    artifact_commands,
    bench_commands,
    model_commands,
    pipeline_commands,
    review_commands,
    serve_commands,
    station_commands,
    sweep_commands,
    track_commands,
)
from flows.cli.options import Invocation
from flows.cli.streams import check_home, prepare_streams

PACKAGE = "dialogsum-pipeline"

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
for group in (
    pipeline_commands,
    sweep_commands,
    review_commands,
    model_commands,
    serve_commands,
    track_commands,
    artifact_commands,
):
    app.add_typer(group.commands)
app.add_typer(bench_commands.commands, name="bench")
app.add_typer(station_commands.commands, name="station")


def _print_version(version_option: bool) -> None:
    if version_option:
        from importlib.metadata import version

        print(f"dialogsum {version(PACKAGE)}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def without_command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune a small language model to summarize dialogues, and find out whether it got better.

    Without a command: show the status of the store, and what to do next.
    """
    if context.invoked_subcommand is None:
        from flows.cli.status import status

        print(status())


class TerminatedError(BaseException):
    """SIGTERM arrived. As after Ctrl-C, everything is cleaned up, and the Prefect server of this process is stopped."""


def _terminate(*_: object) -> NoReturn:
    raise TerminatedError


def main() -> NoReturn:
    """Run the command line; every error becomes one line and an exit code."""
    # no progress bars of libraries: tqdm reads this variable when it is imported, and nothing has imported it yet
    os.environ.setdefault("TQDM_DISABLE", "1")
    prepare_streams()
    command: Any = typer.main.get_command(app)
    invocation = Invocation()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        check_home()
        command.main(sys.argv[1:], standalone_mode=False, prog_name="dialogsum", obj=invocation)
        sys.stdout.flush()
    except (RequestError, StageError, UnmetConditionError) as error:
        _fail(str(error), error.exit_code, error if invocation.debug else None)
    except (KeyboardInterrupt, TerminatedError) as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else 143
        _fail("interrupted; finished stages are kept, rerun the same command to resume", code)
    except BrokenPipeError:  # `dialogsum show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        # an error of click, from Typer's copy of it or another
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):
            _fail(_usage_message(error), 2)
        message = f"{type(error).__name__}: {error} (rerun with --debug for the traceback)"
        _fail(message, 1, error if invocation.debug else None)
    sys.exit(0)


def _usage_message(error: Any) -> str:
    """Click's message, with the most similar command, or the command whose help explains the arguments."""
    message, context = str(error.format_message()).rstrip("."), error.ctx
    if message.startswith("No such command"):
        name = message.split("'")[1]
        return f"no command {name!r}{did_you_mean(name, context.command.commands)}"
    return f"{message}; see `{context.command_path if context else 'dialogsum'} --help`"


def _fail(message: str, code: int, traceback_of: BaseException | None = None) -> NoReturn:
    if traceback_of is not None:
        import traceback

        traceback.print_exception(traceback_of)
    print(f"dialogsum: {one_line(message, 600)}", file=sys.stderr)
    sys.exit(code)
