"""dialogsum bench …: the commands. Heavy imports wait until one is called."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

bench = typer.Typer(help="The project's own benchmarks, each beside its baseline.", rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Model = Annotated[
    str | None, typer.Option("--model", metavar="FOLDER", help="A model, instead of the random stand-in.")
]
OtherModel = Annotated[str | None, typer.Option("--model", metavar="FOLDER", help="Not the recipe's model.")]
Tokenizer = Annotated[Path | None, typer.Option("--tokenizer", metavar="FOLDER", help="The stand-in's tokenizer.")]
ShapeName = Annotated[str, typer.Option("--shape", metavar="gemma-2b|tiny", help="The stand-in's shape.")]
DataName = Annotated[str, typer.Option("--data", metavar="SOURCE", help="As data.source in a recipe.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A name in flows/recipes, or a file.")]
Work = Annotated[Path | None, typer.Option("--work", metavar="FOLDER", help="Scratch; the stand-in is kept there.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Of each system.")]
Systems = Annotated[str | None, typer.Option("--systems", metavar="A,B", help="Which systems, in this order.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="section.key=value", help="Overrule the recipe.")]


@bench.command()
def train(
    data: DataName = "sample",
    tokenizer: Tokenizer = None,
    model: Model = None,
    shape: ShapeName = "gemma-2b",
    recipe: RecipeName = "gemma-2b",
    systems: Systems = None,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Optimizer steps of ours, and at most of others.")] = 60,
    quickstart: Annotated[
        bool, typer.Option("--cpu-quickstart", help="quickstart's training beside a plain fp32 loop, on the CPU.")
    ] = False,
    peak: Annotated[float | None, typer.Option("--peak-tflops", metavar="N", help="Of the GPU, for MFU.")] = None,
    unsloth: Annotated[
        Path | None,
        typer.Option("--unsloth-site", metavar="FOLDER", help="Packages of Unsloth, with its own versions."),
    ] = None,
    overrides: Overrides = None,
    work: Work = None,
    timeout: Timeout = 300,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Training: ours beside the article's recipe, TRL (its defaults, tuned) and Unsloth."""
    from flows.benchmarks import train as told

    asked = _asked(recipe, model, tokenizer, shape, data, work, timeout, overrides)
    rows, remark = told.bench_train(asked, systems, steps, peak, unsloth, quickstart)
    _print_table(rows if as_json else told.shown(rows), remark, as_json)


@bench.command()
def generate(
    data: DataName = "sample",
    tokenizer: Tokenizer = None,
    model: Model = None,
    shape: ShapeName = "gemma-2b",
    recipe: RecipeName = "gemma-2b",
    systems: Systems = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Test dialogues.")] = 500,
    new_tokens: Annotated[int, typer.Option("--new-tokens", min=1)] = 50,
    timed: Annotated[int, typer.Option("--article", min=1, help="Dialogues that the article's loop is timed on.")] = 10,
    overrides: Overrides = None,
    work: Work = None,
    timeout: Timeout = 300,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Generation: ours beside transformers' generate and the article's loop."""
    from flows.benchmarks import generate as told

    asked = _asked(recipe, model, tokenizer, shape, data, work, timeout, overrides)
    rows, remark = told.bench_generate(asked, systems, limit, new_tokens, timed)
    _print_table(rows if as_json else told.shown(rows), remark, as_json)


@bench.command()
def pipeline(
    data: DataName = "sample",
    tokenizer: Tokenizer = None,
    model: Model = None,
    shape: ShapeName = "gemma-2b",
    recipe: RecipeName = "gemma-2b",
    overrides: Overrides = None,
    work: Work = None,
    timeout: Timeout = 1800,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """A whole run from an empty store: where every second went."""
    from flows.benchmarks.pipeline import bench_pipeline

    _print_table(*bench_pipeline(_asked(recipe, model, tokenizer, shape, data, work, timeout, overrides)), as_json)


@bench.command()
def parity(
    data: DataName = "sample",
    tokenizer: Tokenizer = None,
    model: Model = None,
    shape: ShapeName = "gemma-2b",
    recipe: RecipeName = "gemma-2b",
    steps: Annotated[int, typer.Option("--steps", min=2)] = 200,
    at_once: Annotated[int, typer.Option("--trl-rows", min=1, help="Rows that TRL takes at once.")] = 8,
    overrides: Overrides = None,
    work: Work = None,
    timeout: Timeout = 600,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Learning: our loss curve beside plain TRL's with fp32 adapters, on the same rows."""
    from flows.benchmarks.parity import bench_parity

    asked = _asked(recipe, model, tokenizer, shape, data, work, timeout, overrides)
    _print_table(*bench_parity(asked, steps, at_once), as_json)


@bench.command()
def greedy(
    data: DataName = "sample",
    model: OtherModel = None,
    recipe: RecipeName = "smollm2-135m",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Test dialogues.")] = 500,
    new_tokens: Annotated[int, typer.Option("--new-tokens", min=1)] = 50,
    overrides: Overrides = None,
    work: Work = None,
    timeout: Timeout = 600,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Decoding: our texts and their ROUGE beside those of transformers' greedy generate, in fp32 and bf16."""
    from flows.benchmarks.greedy import bench_greedy

    asked = _asked(recipe, model, None, "", data, work, timeout, overrides)
    _print_table(*bench_greedy(asked, limit, new_tokens), as_json)


@bench.command()
def score(
    data: DataName = "sample",
    predictions: Annotated[
        str | None, typer.Option("--predictions", metavar="FILE", help="Text, one line a test dialogue.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1)] = 3,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Scoring: ours beside rouge_score's own loop."""
    from flows.benchmarks.score import bench_score

    _print_table(*bench_score(data, predictions, repeats), as_json)


@bench.command()
def load(
    artifacts: Annotated[int, typer.Option("--artifacts", min=7, help="In the store that is planned over.")] = 10_000,
    rows: Annotated[
        int, typer.Option("--rows", min=200, help="Of the dataset that goes through the CPU stages.")
    ] = 100_000,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Load: `plan`, `show`, `store` and `gc` over a large store, and every CPU stage on a large dataset."""
    from flows.benchmarks.load import bench_load

    _print_table(*bench_load(artifacts, rows), as_json)


@bench.command()
def unchanged(
    data: Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="As data.source in a recipe.")] = None,
    model: OtherModel = None,
    recipe: RecipeName = "quickstart",
    repeats: Annotated[int, typer.Option("--repeats", min=1)] = 5,
    overrides: Overrides = None,
    work: Work = None,
    timeout: Timeout = 1800,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """A retraining with nothing to do beside an empty flow, on the server that PREFECT_API_URL names."""
    from flows.benchmarks.unchanged import bench_unchanged

    asked = _asked(recipe, model, None, "", data, work, timeout, overrides)
    _print_table(*bench_unchanged(asked, repeats), as_json)


def _asked(
    recipe: str, model: str | None, tokenizer: Path | None, shape: str, data: str | None, work: Path | None, timeout: float,
    overrides: list[str] | None,
) -> Any:  # fmt: skip
    from flows.benchmarks.environment import WORK, Asked

    return Asked(
        recipe=recipe, model=model, tokenizer=tokenizer, shape=shape, data=data, work=work or WORK, timeout=timeout,
        overrides=tuple(overrides or ()),
    )  # fmt: skip


def _print_table(rows: list[dict[str, Any]], remark: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"rows": rows, "remark": remark}, ensure_ascii=False))
        return
    from flows.cli.terminal import Terminal

    Terminal().table(rows, remark)
