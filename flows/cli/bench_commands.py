"""dialogsum bench …: the benchmarks. Each command imports its benchmark when it is called."""

import inspect
import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.options import AsJson, Debug, Overrides

commands = typer.Typer(help="The project's benchmarks, each with its baseline.", rich_markup_mode=None)

Data = Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="Data to use: a value of data.source.")]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="FOLDER", help="Model to use; default: one with random weights, from --shape."),
]
OtherModel = Annotated[
    str | None, typer.Option("--model", metavar="FOLDER", help="Model to use instead of the recipe's.")
]
Tokenizer = Annotated[
    Path | None, typer.Option("--tokenizer", metavar="FOLDER", help="Tokenizer of the model with random weights.")
]
Shape = Annotated[str, typer.Option("--shape", metavar="gemma-2b|tiny", help="Shape of the model with random weights.")]
Recipe = Annotated[
    str, typer.Option("--recipe", metavar="RECIPE", help="Name of a recipe in flows/recipes, or a file.")
]
Work = Annotated[
    Path | None,
    typer.Option("--work", metavar="FOLDER", help="Folder for temporary files; keeps the model with random weights."),
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Time limit of each system.")]
Systems = Annotated[
    str | None, typer.Option("--systems", metavar="A,B", help="Systems to measure, in this order; default: all.")
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Number of test dialogues.")]
NewTokens = Annotated[
    int, typer.Option("--new-tokens", metavar="N", min=1, help="Number of new tokens for each dialogue.")
]
Repeats = Annotated[
    int, typer.Option("--repeats", metavar="N", min=1, help="Number of times that each system is timed.")
]


def with_settings(
    recipe: str = "gemma-2b", data: str | None = "sample", timeout: float = 300, random_model: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that describe what a benchmark runs on, with these defaults.

    The command gets them as its first argument, a `BenchmarkSettings`. random_model: without --model the benchmark
    uses a model with random weights, not the recipe's.
    """
    options: dict[str, tuple[Any, Any]] = {
        "data": (Data, data),
        "model": (Model if random_model else OtherModel, None),
        "recipe": (Recipe, recipe),
        "overrides": (Overrides, None),
        "work": (Work, None),
        "timeout": (Timeout, timeout),
    }
    if random_model:
        options |= {"tokenizer": (Tokenizer, None), "shape": (Shape, "gemma-2b")}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapper(**arguments: Any) -> None:
            from flows.benchmarks.environment import WORK, BenchmarkSettings

            values = {name: arguments.pop(name) for name in options}
            values |= {"work": values["work"] or WORK, "overrides": tuple(values["overrides"] or ())}
            command(BenchmarkSettings(**values), **arguments)

        signature = inspect.signature(command)
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in list(signature.parameters.values())[1:]]
        wrapper.__signature__ = signature.replace(parameters=[*shared, *own])  # type: ignore[attr-defined]
        return wrapper

    return decorate


@commands.command()
@with_settings()
def train(
    settings: Any,
    systems: Systems = None,
    steps: Annotated[
        int,
        typer.Option("--steps", metavar="N", min=2, help="Optimizer steps of our stage, and at most of the others."),
    ] = 60,
    quickstart: Annotated[
        bool, typer.Option("--cpu-quickstart", help="Train the recipe quickstart beside a plain fp32 loop, on the CPU.")
    ] = False,
    peak: Annotated[
        float | None, typer.Option("--peak-tflops", metavar="N", help="Peak TFLOP/s of the GPU, to compute MFU.")
    ] = None,
    unsloth: Annotated[
        Path | None,
        typer.Option("--unsloth-site", metavar="FOLDER", help="Folder in which Unsloth is installed."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Training: our stage compared with the article's recipe, TRL (default and tuned) and Unsloth."""
    from flows.benchmarks.train import bench_train, in_columns

    rows, remark = bench_train(settings, systems, steps, peak, unsloth, quickstart)
    _print_table(rows if as_json else in_columns(rows), remark, as_json)


@commands.command()
@with_settings()
def generate(
    settings: Any,
    systems: Systems = None,
    limit: Limit = 500,
    new_tokens: NewTokens = 50,
    article: Annotated[
        int,
        typer.Option("--article", metavar="N", min=1, help="Number of dialogues on which the article's loop is timed."),
    ] = 10,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Generation: our stage compared with transformers' generate and the article's loop."""
    from flows.benchmarks.generate import bench_generate, in_columns

    rows, remark = bench_generate(settings, systems, limit, new_tokens, article)
    _print_table(rows if as_json else in_columns(rows), remark, as_json)


@commands.command()
@with_settings("quickstart", data=None, timeout=600, random_model=False)
def busy(
    settings: Any,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=4, help="Optimizer steps.")] = 8,
    limit: Limit = 16,
    new_tokens: NewTokens = 40,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Training and decoding on the CPU beside other processes, compared with a quiet machine."""
    from flows.benchmarks.busy import bench_busy

    _print_table(*bench_busy(settings, steps, limit, new_tokens), as_json)


@commands.command()
@with_settings(timeout=1800)
def pipeline(settings: Any, as_json: AsJson = False, debug: Debug = False) -> None:
    """A complete run in an empty store: where every second went."""
    from flows.benchmarks.pipeline import bench_pipeline

    _print_table(*bench_pipeline(settings), as_json)


@commands.command()
@with_settings(timeout=600)
def parity(
    settings: Any,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=2, help="Optimizer steps of both trainings.")] = 200,
    micro_batch: Annotated[
        int, typer.Option("--trl-rows", metavar="N", min=1, help="Rows per forward pass of TRL.")
    ] = 8,
    engines: Annotated[
        str | None,
        typer.Option("--engines", metavar="packed,trl", help="Compare two engines of our stage with each other."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Learning: our loss curve compared with that of plain TRL with fp32 adapters, on the same rows."""
    from flows.benchmarks.parity import bench_parity

    _print_table(*bench_parity(settings, steps, micro_batch, engines), as_json)


@commands.command()
@with_settings("smollm2-135m", timeout=600, random_model=False)
def greedy(
    settings: Any, limit: Limit = 500, new_tokens: NewTokens = 50, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Decoding: our texts and their ROUGE compared with transformers' greedy generate, in fp32 and bf16."""
    from flows.benchmarks.greedy import bench_greedy

    _print_table(*bench_greedy(settings, limit, new_tokens), as_json)


@commands.command()
def candidates(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or a file.")] = "smollm2-135m",
    overrides: Overrides = None,
    adapter: Annotated[
        str, typer.Option("--adapter", metavar="ID", help="Adapter to sample from: an id, latest or champion.")
    ] = "latest",
    counts: Annotated[
        str, typer.Option("--counts", metavar="N,N", help="Numbers of candidates to compare.")
    ] = "4,8,16,32,64,128",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Minimum Bayes risk: ROUGE on the validation split over seconds, for several numbers of candidates."""
    from artifacts.errors import RequestError
    from flows.benchmarks.candidates import bench_candidates

    numbers = [word.strip() for word in counts.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise RequestError(f"--counts: got {counts!r}; expected numbers such as 4,8,16")
    _print_table(*bench_candidates(recipe, overrides or (), adapter, [int(number) for number in numbers]), as_json)


@commands.command()
def architectures(
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Use the published shapes, for a GPU, instead of tiny ones.")
    ] = False,
    systems: Annotated[
        str | None, typer.Option("--systems", metavar="A,B", help="Recipes whose base models to take; default: all.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=2, help="Number of optimizer steps.")] = 20,
    new_tokens: NewTokens = 50,
    work: Work = None,
    timeout: Timeout = 900,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Base models: each architecture with random weights, which engine trains and decodes it, and how fast."""
    from flows.benchmarks.architectures import bench_architectures, in_columns
    from flows.benchmarks.environment import WORK

    rows, remark = bench_architectures(shapes, systems, steps, new_tokens, work or WORK, timeout)
    _print_table(rows if as_json else in_columns(rows), remark, as_json)


@commands.command()
def score(
    data: Annotated[
        str, typer.Option("--data", metavar="SOURCE", help="Data to use: a value of data.source.")
    ] = "sample",
    predictions: Annotated[
        str | None, typer.Option("--predictions", metavar="FILE", help="Text file, one line for each test dialogue.")
    ] = None,
    repeats: Repeats = 3,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Scoring: our scorer compared with rouge_score's own loop."""
    from flows.benchmarks.score import bench_score

    _print_table(*bench_score(data, predictions, repeats), as_json)


@commands.command()
def names(
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="Folder with DialogSum and summaries that people have judged."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Invented names and numbers: our measure and the earlier one compared with people's verdict."""
    from flows.benchmarks.names import bench_names

    _print_table(*bench_names(data), as_json)


@commands.command()
def faithfulness(
    data: Annotated[
        Path,
        typer.Option("--data", metavar="FOLDER", help="Folder with samsum_outputs.csv and dialogsum_outputs.csv."),
    ],
    dialogsum: Annotated[
        Path | None,
        typer.Option("--dialogsum", metavar="FOLDER", help="DialogSum, whose test.csv has the dialogues; for --final."),
    ] = None,
    final: Annotated[
        bool,
        typer.Option("--final", help="Open DialogSum's labels as well: once per measure, after its development."),
    ] = False,
    by_type: Annotated[bool, typer.Option("--by-type", help="AUROC for each type of error instead.")] = False,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="MODEL", help="Measure this judge as well: a hub id or folder.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="Measure a judge behind an OpenAI-compatible API.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of its model there.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="RECIPE", help="Measure the judge of this recipe.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Faithfulness: how far measures agree with people who labelled summaries as right or wrong.

    With a judge, its agreement is kept in the store, and reports that show the judge show it.
    """
    from flows.benchmarks.faithfulness import bench_faithfulness
    from flows.cli.terminal import Terminal
    from flows.recipe import load_recipe

    options = {"model": judge, "endpoint": endpoint, "name": name}
    chosen = [*(f"judge.{key}={json.dumps(value)}" for key, value in options.items() if value), *(overrides or ())]
    loaded = load_recipe(recipe or "quickstart", chosen) if recipe or chosen else None
    terminal = Terminal()
    try:
        table = bench_faithfulness(data, dialogsum, final, by_type, loaded, terminal)
    finally:
        terminal.close()
    _print_table(*table, as_json)


@commands.command()
def load(
    artifacts: Annotated[
        int,
        typer.Option("--artifacts", metavar="N", min=7, help="Number of artifacts in the store that commands read."),
    ] = 10_000,
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", min=200, help="Number of rows in the dataset of the CPU stages.")
    ] = 100_000,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Load: `plan`, `show`, `store` and `gc` over a large store, and every CPU stage on a large dataset."""
    from flows.benchmarks.load import bench_load

    _print_table(*bench_load(artifacts, rows), as_json)


@commands.command()
@with_settings("quickstart", data=None, timeout=3600, random_model=False)
def probe(settings: Any, as_json: AsJson = False, debug: Debug = False) -> None:
    """Facts: the base model, the recipe's model and one that is trained on swapped speakers, probed side by side."""
    from dataclasses import replace

    from flows.benchmarks.probe import bench_probe

    _print_table(*bench_probe(replace(settings, real=not settings.model)), as_json)


@commands.command()
@with_settings("quickstart", data=None, timeout=1800, random_model=False)
def unchanged(settings: Any, repeats: Repeats = 5, as_json: AsJson = False, debug: Debug = False) -> None:
    """Caching: an unchanged retraining compared with an empty flow, on the server in PREFECT_API_URL."""
    from flows.benchmarks.unchanged import bench_unchanged

    _print_table(*bench_unchanged(settings, repeats), as_json)


@commands.command()
@with_settings()
def serve(
    settings: Any,
    changes: Annotated[
        int, typer.Option("--changes", metavar="N", min=1, help="Number of promotions and rollbacks under load.")
    ] = 1000,
    clients: Annotated[int, typer.Option("--clients", metavar="N", min=1, help="Number of clients at once.")] = 50,
    requests: Annotated[
        int, typer.Option("--requests", metavar="N", min=1, help="Number of requests that each server is timed with.")
    ] = 500,
    new_tokens: NewTokens = 16,
    pause: Annotated[
        float, typer.Option("--pause", metavar="SECONDS", min=0, help="Mean time between two changes.")
    ] = 0.05,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Serving: the champion changes under load; latency and throughput compared with `transformers serve`."""
    from flows.benchmarks.serve import bench_serve

    _print_table(*bench_serve(settings, changes, clients, requests, new_tokens, pause), as_json)


@commands.command()
def soak(
    weeks: Annotated[int, typer.Option("--weeks", metavar="N", min=1, max=120, help="Number of weeks.")] = 104,
    kill_every: Annotated[
        int,
        typer.Option(
            "--kill-every", metavar="N", min=1, help="Weeks from one kill to the next; the first is in week 2."
        ),
    ] = 10,
    restart_every: Annotated[
        int,
        typer.Option(
            "--restart-every", metavar="N", min=1, help="Weeks between restarts of the server; the first is in week 3."
        ),
    ] = 20,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="File that gets a line of JSON for each week.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="FOLDER",
            help="Go on with a soak that was killed: its folder run-… in that of --work, and its --record.",
        ),
    ] = None,
    earlier: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Print the table of this record, and run nothing.")
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option("--readme", metavar="FILE", help="Write the table into this file as well, between its marks."),
    ] = None,
    work: Work = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """A year on a station: memory, sizes and times while runs are killed and the server is restarted."""
    from flows.benchmarks.soak_record import BEGIN, END, markdown, read_weeks, remark, table

    if earlier:
        recorded = read_weeks(earlier)
    else:
        from flows.benchmarks.environment import WORK
        from flows.benchmarks.soak import bench_soak

        recorded = bench_soak(work or WORK, weeks, kill_every, restart_every, record, resume)
    rows, line = table(recorded), remark(recorded)
    if readme is not None:
        from flows.cli.results_table import replace_block

        replace_block(readme, BEGIN, END, markdown(rows, line))
    _print_table(rows, line, as_json)


def _print_table(rows: list[dict[str, Any]], remark: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"rows": rows, "remark": remark}, ensure_ascii=False))
        return
    from flows.cli.terminal import Terminal

    Terminal().table(rows, remark)
