"""Messages of the command line, reworded for a form; tests/system/test_station.py shows them in deployed runs."""

import pytest

from artifacts.errors import RequestError
from flows.failures import fails_in_one_line, in_words_of_form

FIELDS = ("source", "column", "prompt", "recipe", "overrides")
ADVICE = (
    ". Set data.source in the form's field `overrides` (data.source=…), "
    "or for all runs in the Prefect variable dialogsum_overrides"
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("data.source: no folder /x", f"data.source: no folder /x{ADVICE}"),
        ("--set train.epochs: got 'abc'", "`overrides` train.epochs: got 'abc'"),
        ("--column: no column 'x'", "column: no column 'x'"),
        ("which column? --column NAME; found: a", "which column? `column` NAME; found: a"),
        ("--adapter latest takes the newest", "--adapter latest takes the newest"),  # this form has no such field
        ("data: 3 rows", "data: 3 rows"),
        ("train: column 'summary' is missing", "train: column 'summary' is missing"),
        ("x--set y", "x--set y"),
    ],
)
def test_options_become_fields_and_keys_get_a_place(message: str, expected: str) -> None:
    """Only fields that the form has; advice only where the message is about a key of recipes."""
    assert in_words_of_form(message, FIELDS) == expected


def test_a_form_without_overrides_gets_no_advice_about_them() -> None:
    """A stage is made from its id alone."""
    assert in_words_of_form("data.source: no folder /x", ("artifact", "refresh")) == "data.source: no folder /x"


def test_outside_a_deployment_the_error_is_raised() -> None:
    """The command line needs it for its exit code."""

    @fails_in_one_line
    def wrong(recipe: str) -> None:
        raise RequestError(recipe)

    with pytest.raises(RequestError, match=r"^as it is$"):
        wrong("as it is")
