"""summarize, prompts, export: using a trained model."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.errors import RequestError
from flows.cli.options import AsJson, Debug, Overrides, adapters, formats, recipes
from flows.cli.options import prompts as prompt_names

if TYPE_CHECKING:
    from tasks.summarization.request import SummarizeRequest

commands = typer.Typer()
OptionalRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="RECIPE",
        help="Recipe that names the base model; default: the adapter's.",
        autocompletion=recipes,
    ),
]
DialogueFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format of the dialogues; usually detected. docs/reference/transcript-formats.md lists them.",
        autocompletion=formats,
    ),
]


@commands.command()
def summarize(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="CSV, JSON Lines or Parquet table; transcript, subtitles or JSON chat; - for standard input.",
        ),
    ],
    column: Annotated[
        str | None,
        typer.Option("--column", metavar="NAME", help="Column with the dialogues; usually detected."),
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
    recipe: OptionalRecipe = None,
    format: DialogueFormat = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print who says what as it is parsed, and load no model.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse an input of which anything is left out, joined, moved or guessed.")
    ] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Summarize your own dialogues. Adds the columns summary, tokens, stop and model to a table."""
    from flows.cli.terminal import Terminal
    from tasks.summarization.request import SummarizeRequest

    request = SummarizeRequest(
        source=source,
        column=column,
        adapter=adapter,
        prompt=prompt,
        out=out,
        recipe=recipe,
        format=format,
        strict=strict,
        overrides=tuple(overrides or ()),
    )
    if show:
        _show_transcript(request, as_json)
        return
    from flows.inference.summarize_file import result_line, summarize_file

    listener = Terminal()
    listener.label = "summarize"
    try:
        result = summarize_file(request, listener)
    finally:
        listener.close()
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        listener.log(result_line(result))
        print(result["out"] or result["summary"])


def _show_transcript(request: "SummarizeRequest", as_json: bool) -> None:
    """Who says what on standard output, what is lost on standard error."""
    from flows.inference import transcript_input
    from tasks.reporting.escaping import visible

    parsed = transcript_input.parse_input(request)
    if as_json:
        print(json.dumps(transcript_input.as_json(parsed), ensure_ascii=False))
        return
    print("\n".join(map(visible, transcript_input.text_lines(parsed))))
    for loss in parsed.losses:
        print(loss.sentence, file=sys.stderr)


@commands.command()
def prompts(
    name: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="NAME|FILE",
            help="Preview this prompt: its exact text, and the ids of the tokens around it.",
            autocompletion=prompt_names,
        ),
    ] = None,
    dialogue: Annotated[
        Path | None,
        typer.Option("--dialogue", metavar="FILE", help="Dialogue for the preview; default: a short example."),
    ] = None,
    format: DialogueFormat = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="RECIPE",
            help="Recipe whose tokenizer and chat template to use.",
            autocompletion=recipes,
        ),
    ] = "quickstart",
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the prompts, or preview one as the model receives it."""
    from flows.cli.terminal import Terminal
    from flows.inference import prompt_library, transcript_input
    from flows.recipe import load_recipe

    if name is None:
        rows = prompt_library.prompt_rows()
        if as_json:
            print(json.dumps(rows))
        else:
            Terminal().table(rows, "--show NAME previews a prompt; a file of your own works too")
        return
    prompt, text = prompt_library.find_prompt(name), prompt_library.read_dialogue(dialogue)
    transcript_input.check_format(format)
    load_recipe(recipe, overrides or [])
    Terminal().console.print(f"loading the tokenizer of recipe {recipe} …", markup=False)
    preview = prompt_library.preview(prompt, text, recipe, overrides or [], format)
    print(json.dumps(preview, ensure_ascii=False) if as_json else prompt_library.preview_text(preview))


@commands.command()
def export(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write; new or empty.")],
    adapter: Annotated[
        str,
        typer.Option("--adapter", metavar="champion|latest|ID", help="Adapter to export.", autocompletion=adapters),
    ] = "champion",
    merged: Annotated[
        bool, typer.Option("--merged", help="Write a complete bf16 model for transformers instead of an adapter.")
    ] = False,
    gguf: Annotated[
        str | None,
        typer.Option("--gguf", metavar="f16|bf16|f32|q8_0", help="Write a complete model for llama.cpp and Ollama."),
    ] = None,
    gguf_adapter: Annotated[
        bool, typer.Option("--gguf-adapter", help="Write the adapter for llama.cpp, beside a GGUF file of its base.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME[=VALUE]", help="Format to write, by its name, such as `gguf=q8_0`."),
    ] = None,
    score: Annotated[
        bool,
        typer.Option("--score", help="With --gguf: score the file on the test split, against the original model."),
    ] = False,
    base: Annotated[
        str | None, typer.Option("--base", metavar="HUB ID|FOLDER", help="Base model that the exported adapter names.")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Also upload the folder to a private repository on the hub."),
    ] = None,
    recipe: OptionalRecipe = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write an adapter for plain peft, or a complete model for transformers or llama.cpp. Includes a model card."""
    from flows.cli.terminal import Terminal
    from flows.inference.export_adapter import export_adapter

    chosen = [*["merged"][:merged], *([f"gguf={gguf}"] if gguf else []), *["gguf-adapter"][:gguf_adapter]]
    chosen += [format] if format else []
    if len(chosen) > 1:
        raise RequestError(f"one folder has one format: choose among {', '.join(chosen)}")
    listener = Terminal()
    try:
        result = export_adapter(
            adapter,
            out,
            base=base,
            push=push,
            recipe=recipe,
            overrides=overrides or [],
            format=chosen[0] if chosen else "adapter",
            score=score,
            listener=listener,
        )
    finally:
        listener.close()
    if result["note"] and not as_json:
        print(f"dialogsum: {result['note']}", file=sys.stderr)
    if result["scores"] and not as_json:
        print(f"{gguf or chosen[0].partition('=')[2]}: {result['scores']}", file=sys.stderr)
    print(json.dumps(result) if as_json else result["url"] or result["out"])
