"""bench architectures: each architecture with random weights, trained and decoded by the engines that a run takes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.architectures import ARCHITECTURES
from flows.benchmarks.environment import BenchmarkSettings, benchmark_run, select_systems

TINY_BATCH, TINY_ROWS = 4, 16
"""Rows per optimizer step, and prompts that are decoded together, with tiny models."""
ROWS = 64
"""Prompts that are decoded together with models of the published shapes."""
Row = dict[str, Any]


def bench_architectures(
    shapes: bool, names: str | None, steps: int, new_tokens: int, work: Path, timeout: float
) -> tuple[list[Row], str]:
    """Train `steps` steps on the bundled sample, then decode `new_tokens` tokens for a batch of its test dialogues.

    Args:
        shapes: the published shapes, for a GPU; otherwise tiny models.
        names: recipes joined by commas; None: all.
        steps: optimizer steps.
        new_tokens: most tokens for each dialogue.
        work: folder for the models, which are removed afterwards.
        timeout: seconds that an architecture may take.

    Returns a row for each architecture, and a remark.
    """
    overrides = [
        *(
            "model.turns=chatml",
            "model.quantization=none",
            "generate.candidates=1",
            f"generate.max_new_tokens={new_tokens}",
        ),
        *(f"train.max_steps={steps}", "train.evaluations=1", "train.validation_limit=8", "seeds=1"),
        *(f"train.learning_rate={1e-3 if shapes else 1e-2}", f"generate.limit={ROWS if shapes else TINY_ROWS}"),
    ]
    if not shapes:
        overrides += [f"train.batch_size={TINY_BATCH}", "train.lora.rank=8", "train.max_length=512"]
    settings = BenchmarkSettings(recipe="quickstart", real=True, work=work, timeout=timeout)
    table: list[Row] = []
    with benchmark_run(settings) as run:
        for name in select_systems(names, tuple(ARCHITECTURES)):
            folder = run.folder / "models" / f"{name}-random"
            own = (f"model.source={folder}", *overrides)
            row = replace(run, recipe=name).run_system(
                name, "children.architecture", *own, architecture=name, folder=str(folder), shapes=shapes
            )
            table.append({"recipe": name, "architecture": ARCHITECTURES[name].model_type} | row)
    device = next((row["device"] for row in table if "failed" not in row), "no architecture finished")
    return table, (
        f"{device}; random weights, {'published' if shapes else 'tiny'} shapes, the bundled sample with a small "
        f"tokenizer, {steps} optimizer steps, at most {new_tokens} new tokens. Loss: of the first and the last step. "
        "Same: texts of the decoder equal to those of `generate` of transformers. In half precision many logits of "
        "random weights are nearly equal, so the comparison in fp32 is the one of correctness."
    )


def in_columns(table: list[Row]) -> list[dict[str, str]]:
    """The rows with the columns that are printed."""
    return [_failure(row) if "failed" in row else _figures(row) for row in table]


def _failure(row: Row) -> dict[str, str]:
    columns = ("size", "train tok/s", "loss", "decodes with", "new tok/s", "generate tok/s", "same")
    return {"recipe": row["recipe"], "trains with": row["failed"], **dict.fromkeys(columns, "-")}


def _figures(row: Row) -> dict[str, str]:
    same = [f"{equal}/{rows} {precision}" for precision, (equal, rows) in row["same"].items()]
    return {
        "recipe": row["recipe"],
        "trains with": row["engine"],
        "size": f"{row['parameters'] / 1e6:,.1f} M",
        "train tok/s": f"{row['train_tokens_per_second']:,.0f}",
        "loss": f"{row['first_loss']:.2f} to {row['last_loss']:.2f}",
        "decodes with": row["decoder"],
        "new tok/s": f"{row['new_tokens_per_second']:,.0f}",
        "generate tok/s": f"{row['generate_tokens_per_second']:,.0f}",
        "same": ", ".join(same) or "-",
    }
