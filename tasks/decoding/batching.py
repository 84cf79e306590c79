"""Which rows are decoded together: decided by the rows alone, so that the number of GPUs changes no prediction."""

from collections.abc import Iterator, Sequence

from tasks.config import Runtime

ON_CPU, ON_GPU = 16, 256
"""Rows decoded together unless the recipe's runtime says otherwise."""
Row = tuple[str, list[int]]
"""Id and token ids of a prompt."""


def batch_size(runtime: Runtime, device: str) -> int:
    """The most rows of a batch on `cpu` or `cuda`."""
    return runtime.generate_batch_size or (ON_CPU if device == "cpu" else ON_GPU)


def count(rows: int, size: int) -> int:
    """As few batches as there can be."""
    return -(-rows // size)


def deal(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Batches of equal size and with the same mixture of lengths, the longest row first."""
    ordered = sorted(rows, key=lambda row: (-len(row[1]), row[0]))
    batches = count(len(rows), size)
    return [ordered[start::batches] for start in range(batches)]


def shape(prompts: Sequence[list[int]]) -> tuple[int, int, int]:
    """Rows, tokens of all prompts, tokens of the longest."""
    lengths = [len(prompt) for prompt in prompts]
    return len(lengths), sum(lengths), max(lengths)


def part_of(rows: int, n: int) -> int:
    """An n-th of the rows, up to a multiple of 8."""
    return min(rows, -(-rows // (8 * n)) * 8)


def parts(lengths: list[int], most: int) -> Iterator[slice]:
    """Consecutive rows of together at most `most` tokens, at least one each."""
    start, tokens = 0, 0
    for row, length in enumerate(lengths):
        if row > start and tokens + length > most:
            yield slice(start, row)
            start, tokens = row, 0
        tokens += length
    yield slice(start, len(lengths))
