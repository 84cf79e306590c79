"""The main function of a worker process: read the config, run, report the result or the error."""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from artifacts.errors import RequestError, StageError
from artifacts.record import Record
from artifacts.text import one_line
from tasks.workers.events import Events, JsonLinesEvents, emit

PARENT_VARIABLE = "DIALOGSUM_PARENT"
"""Set by a parent that holds the other end of the worker's standard input."""
ConfigT = TypeVar("ConfigT", bound=Record)


def worker_main(run: Callable[[ConfigT, Events], Record], config_type: type[ConfigT]) -> NoReturn:
    """Call `run` with the config in the file `sys.argv[1]`, and report what it returns.

    Exit codes: 0; 1 if the stage failed; 2 if the request was wrong; the error's own, if it has one.
    """
    if os.environ.get(PARENT_VARIABLE):
        threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        config = config_type.model_validate(json.loads(Path(sys.argv[1]).read_text()))
        result = run(config, JsonLinesEvents())
    except (RequestError, StageError) as error:
        emit("error", kind="request" if isinstance(error, RequestError) else "stage", message=str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        traceback.print_exc()
        emit("error", kind="stage", message=one_line(f"{type(error).__name__}: {error}"))
        sys.exit(1)
    if os.environ.get("RANK", "0") == "0":  # of the processes that accelerate starts, one reports
        emit("result", result=result.model_dump(mode="json"))
    sys.exit(0)


def end_with_parent() -> None:
    """End this process when its parent is gone: only the parent holds the other end of standard input."""
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held when the interpreter shuts down
        pass
    os._exit(1)
