"""Failures of deployed runs: one line in the log and the state, in the terms of the form.

On the command line nothing changes: the error is raised, and flows/cli/main.py prints it.
"""

import inspect
import logging
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect.states import Failed

from artifacts.errors import RequestError, StageError
from flows.recipe import OVERRIDES, Recipe, all_keys
from tasks.gpu_lease import is_deployment_run
from tasks.run_watch import watched

Function = Callable[..., Any]


def fails_in_one_line(function: Function) -> Function:
    """The function of a flow, which in a deployed run returns a Failed state instead of raising our own errors.

    Prefect treats both alike (state type, automations, parent runs), but logs a raised error with tracebacks. The run
    is watched while it lasts (tasks/run_watch.py).
    """

    @watched()
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not is_deployment_run():
            return function(*args, **kwargs)
        for name in ("prefect.flow_runs", "prefect.task_runs"):
            logging.getLogger(name).addFilter(_ONE_LINE)
        try:
            return function(*args, **kwargs)
        except (RequestError, StageError) as error:
            message = in_words_of_form(str(error), inspect.signature(function).parameters)
            _ONE_LINE.final.add(message)
            return Failed(message=message)

    return run


def in_words_of_form(message: str, fields: Any) -> str:
    """A message of the command line for a form with these fields: fields instead of options, and where to set a key."""

    def field(option: re.Match[str]) -> str:
        name = "overrides" if option[1] == "set" else option[1]
        return option[0] if name not in fields else f"{name}:" if option[2] else f"`{name}`"

    key = re.match(r"([a-z_.]+): ", message)
    message = re.sub(r"(?<!\S)--([a-z]+)\b(:?)", field, message)
    if "overrides" not in fields or key is None or key[1] not in all_keys(Recipe):
        return message
    return (
        f"{message}. Set {key[1]} in the form's field `overrides` ({key[1]}=…), "
        "or for all runs in the Prefect variable "
        f"{OVERRIDES}"
    )


class _OneLine(logging.Filter):
    """Of the records that Prefect logs about one error, keeps that of the run's final state, at level ERROR.

    It drops the tracebacks of a RequestError in a task, and that of Prefect's own FailedRun after a Failed state. A
    StageError in a task keeps its traceback, which may show what failed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.final, self.refused = set[str](), set[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RequestError):
            self.refused.add(str(error))
            return False
        if error is not None:
            return str(error) not in self.final
        if record.name == "prefect.task_runs":
            return not _quotes(record, self.refused)
        if _quotes(record, self.final):
            record.levelno, record.levelname = logging.ERROR, "ERROR"
        return True


def _quotes(record: logging.LogRecord, messages: set[str]) -> bool:
    """Whether a record has one of these messages as Python quotes it, which is how Prefect logs a state."""
    return any(repr(message)[1:-1] in record.getMessage() for message in messages)


_ONE_LINE = _OneLine()
