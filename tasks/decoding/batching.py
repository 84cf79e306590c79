"""Batches of prompts. The rows alone decide them, so the number of GPUs changes no prediction."""

from collections.abc import Iterator, Sequence

from tasks.config import Runtime

CPU_BATCH_ROWS, GPU_BATCH_ROWS = 16, 256
"""Rows decoded together unless runtime.generate_batch_size says otherwise."""
Row = tuple[str, list[int]]
"""Id and token ids of a prompt."""


def batch_size(runtime: Runtime, device: str) -> int:
    """The most rows of a batch on `cpu` or `cuda`."""
    return runtime.generate_batch_size or (CPU_BATCH_ROWS if device == "cpu" else GPU_BATCH_ROWS)


def batch_count(rows: int, size: int) -> int:
    """The smallest number of batches of at most `size` rows."""
    return -(-rows // size)


def make_batches(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Batches of equal size and with the same mixture of lengths, the longest row first."""
    by_length = sorted(rows, key=lambda row: (-len(row[1]), row[0]))
    batches = batch_count(len(rows), size)
    return [by_length[start::batches] for start in range(batches)]


def batch_shape(prompts: Sequence[list[int]]) -> tuple[int, int, int]:
    """Number of rows, tokens of all prompts, tokens of the longest prompt."""
    lengths = [len(prompt) for prompt in prompts]
    return len(lengths), sum(lengths), max(lengths)


def fraction_of_rows(rows: int, denominator: int) -> int:
    """The rows divided by `denominator`, rounded up to a multiple of 8."""
    return min(rows, -(-rows // (8 * denominator)) * 8)


def split_by_tokens(lengths: list[int], max_tokens: int) -> Iterator[slice]:
    """Consecutive rows with at most `max_tokens` tokens together; a longer row is alone."""
    start, tokens = 0, 0
    for row, length in enumerate(lengths):
        if row > start and tokens + length > max_tokens:
            yield slice(start, row)
            start, tokens = row, 0
        tokens += length
    yield slice(start, len(lengths))
