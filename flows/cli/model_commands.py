"""summarize, prompts, export: the model in people's hands."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import AsJson, Debug, Overrides, adapters, recipes
from flows.cli.options import prompts as prompt_names

using = typer.Typer()


@using.command()
def summarize(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT", help="CSV, JSON lines, Parquet; a transcript, subtitles, a chat as JSON; or -."
        ),
    ],
    column: Annotated[
        str | None, typer.Option("--column", metavar="NAME", help="Column that holds the dialogues; usually detected.")
    ] = None,
    adapter: Annotated[
        str,
        typer.Option(
            "--adapter",
            metavar="champion|latest|ID|none|FOLDER|hub id",
            help="Adapter to use, or none for the base model.",
            autocompletion=adapters,
        ),
    ] = "champion",
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="NAME|FILE",
            help="Prompt to use; `dialogsum prompts` lists them.",
            autocompletion=prompt_names,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "--output",
            metavar="FILE",
            help="File to write; default: INPUT.summaries.… for a table, standard output for a conversation.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="RECIPE",
            help="Recipe whose base model to use; default: the adapter's.",
            autocompletion=recipes,
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Summarize your own dialogues. A table keeps its rows and columns and gets summary, tokens, stop and model."""
    from flows.cli.terminal import Terminal
    from flows.inference.summarize_file import in_words, summarize_file

    listener = Terminal()
    listener.label = "summarize"
    try:
        done = summarize_file(source, listener, column, adapter, prompt, out, recipe, overrides or [])
    finally:
        listener.close()
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
    else:
        listener.log(in_words(done))
        print(done["out"] or done["summary"])


@using.command()
def prompts(
    name: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="NAME|FILE",
            help="Preview: the exact text and the ids at its turns.",
            autocompletion=prompt_names,
        ),
    ] = None,
    dialogue: Annotated[
        Path | None, typer.Option("--dialogue", metavar="FILE", help="To preview on; a short one unless given.")
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="RECIPE", help="Whose tokenizer and turns.", autocompletion=recipes)
    ] = "quickstart",
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the prompts, or preview one as the model gets it."""
    from flows.cli.terminal import Terminal
    from flows.inference import prompt_library
    from flows.recipe import load_recipe

    if name is None:
        rows = prompt_library.listed()
        print(json.dumps(rows)) if as_json else Terminal().table(rows, "--show NAME for a preview; a file of your own works the same")  # fmt: skip
        return
    found, shown = prompt_library.find_prompt(name), prompt_library.dialogue_of(dialogue)
    load_recipe(recipe, overrides or [])
    Terminal().console.print(f"loading the tokenizer of recipe {recipe} …", markup=False)
    seen = prompt_library.preview(found, shown, recipe, overrides or [])
    print(json.dumps(seen, ensure_ascii=False) if as_json else prompt_library.in_words(seen))


@using.command()
def export(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder to write.")],
    adapter: Annotated[
        str, typer.Option("--adapter", metavar="champion|latest|ID", help="What to export.", autocompletion=adapters)
    ] = "champion",
    merged: Annotated[
        bool, typer.Option("--merged", help="A whole bf16 model for transformers, not an adapter for peft.")
    ] = False,
    base: Annotated[
        str | None, typer.Option("--base", metavar="HUB ID|FOLDER", help="Where others find the base model.")
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="OWNER/NAME", help="Into a private repository of the hub as well.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="RECIPE", help="As for summarize.", autocompletion=recipes)
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write an adapter for plain peft or transformers. A model card comes with it; --merged writes a whole model."""
    from flows.inference.export_adapter import export_adapter

    done = export_adapter(adapter, out, merged, base, push, recipe, overrides or [])
    if done["note"] and not as_json:
        print(f"dialogsum: {done['note']}", file=sys.stderr)
    print(json.dumps(done) if as_json else done["url"] or done["out"])
