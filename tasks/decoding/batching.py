"""Batches of prompts. The rows alone decide them, so the number of GPUs changes no prediction."""

from collections.abc import Iterator, Sequence

from tasks.config import Runtime

CPU_BATCH_ROWS, GPU_BATCH_ROWS = 16, 512
"""Rows of a batch unless runtime.generate_batch_size says otherwise."""
GPU_CANDIDATES_BATCH_ROWS = 256
"""The same on a GPU, where each row has several candidates."""
SEQUENCES_PER_ROW = {"cpu": 1, "cuda": 8}
"""Candidates decoded at once for each row of a batch, on average; the others wait, since each takes memory."""
Row = tuple[str, list[int]]
"""Id and token ids of a prompt."""


def batch_size(runtime: Runtime, device: str, candidates: int) -> int:
    """The most rows of a batch on `cpu` or `cuda`. candidates: of each row."""
    if runtime.generate_batch_size or device == "cpu":
        return runtime.generate_batch_size or CPU_BATCH_ROWS
    return GPU_BATCH_ROWS if candidates == 1 else GPU_CANDIDATES_BATCH_ROWS


def batch_count(rows: int, size: int) -> int:
    """The smallest number of batches of at most `size` rows."""
    return -(-rows // size)


def make_batches(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Batches of equal size and with the same mixture of lengths, the longest row first."""
    by_length = sorted(rows, key=lambda row: (-len(row[1]), row[0]))
    batches = batch_count(len(rows), size)
    return [by_length[start::batches] for start in range(batches)]


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
