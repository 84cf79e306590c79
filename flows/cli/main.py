"""The command line. Logs and progress go to standard error, answers to standard output.

Exit 0 done, 1 a stage failed, 2 the request was wrong, 130 or 143 interrupted; an error is one line. The commands are in
flows/commands and import what they need when they are called: a misspelt key is refused before Prefect or torch is touched.
"""

import os
import signal
import sys
from typing import Any, NoReturn

import typer

from artifacts.errors import RequestError, StageError, nearest, one_line
from flows.cli.artifact_commands import looking
from flows.cli.bench_commands import bench
from flows.cli.model_commands import using
from flows.cli.pipeline_commands import running
from flows.cli.station_commands import station
from flows.cli.storage_commands import keeping

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for commands in (running, using, looking, keeping):
    app.add_typer(commands)
app.add_typer(bench, name="bench")
app.add_typer(station, name="station")


@app.callback(invoke_without_command=True)
def alone(context: typer.Context) -> None:
    """Fine-tune a small language model to summarize dialogues, and know whether it got better."""
    if context.invoked_subcommand is None:
        from flows.cli.status import welcome

        print(welcome())


class TerminatedError(BaseException):
    """SIGTERM: everything is left in order, as after Ctrl-C, the Prefect server of this process included."""


def _terminate(*_: object) -> NoReturn:
    raise TerminatedError


def main() -> NoReturn:
    """Run the command line; every error becomes one line and an exit code."""
    # no bars of libraries: tqdm reads it when it is imported, which nothing has done yet
    os.environ.setdefault("TQDM_DISABLE", "1")
    command: Any = typer.main.get_command(app)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command.main(sys.argv[1:], standalone_mode=False, prog_name="dialogsum")
        sys.stdout.flush()
    except (RequestError, StageError) as error:
        _fail(str(error), error.exit_code, error)
    except (KeyboardInterrupt, TerminatedError) as stop:
        code = 130 if isinstance(stop, KeyboardInterrupt) else 143
        _fail("interrupted; finished stages are kept, run the same command to go on", code)
    except BrokenPipeError:  # `dialogsum show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # click's own, of Typer's copy or another
            _fail(_usage(error), 2)
        _fail(f"{type(error).__name__}: {error} (run again with --debug for the traceback)", 1, error)
    sys.exit(0)


def _usage(error: Any) -> str:
    """What click says, with the nearest command, or whose help has the answer."""
    message, context = str(error.format_message()).rstrip("."), error.ctx
    if message.startswith("No such command"):
        wrong = message.split("'")[1]
        return f"no command {wrong!r}{nearest(wrong, context.command.commands)}"
    return f"{message}; see `{context.command_path if context else 'dialogsum'} --help`"


def _fail(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    if "--debug" in sys.argv and error is not None:
        import traceback

        traceback.print_exception(error)
    print(f"dialogsum: {one_line(message, 600)}", file=sys.stderr)
    sys.exit(code)
