"""Measurements of several processes, put together by hand."""

from tasks.decoding.worker_records import Measurements

FIRST = Measurements(
    device="GPU",
    dtype="bfloat16",
    batch=256,
    loading_seconds=4.0,
    generating_seconds=10.0,
    decoding_seconds=9.0,
    recording_seconds=1.0,
    choosing_seconds=0.5,
    tokens=1000,
    tokens_per_second=100.0,
    halved=1,
    peak_gib=20.0,
)


def test_counts_and_speeds_are_summed_and_the_largest_time_and_memory_is_taken() -> None:
    """The processes work at the same time."""
    second = FIRST.model_copy(
        update={
            "loading_seconds": 5.0,
            "generating_seconds": 8.0,
            "tokens": 600,
            "tokens_per_second": 75.0,
            "halved": 0,
        }
    )
    merged = Measurements.merge([FIRST, second])
    assert (merged.tokens, merged.tokens_per_second, merged.halved, merged.processes) == (1600, 175.0, 1, 2)
    assert (merged.loading_seconds, merged.generating_seconds, merged.peak_gib) == (5.0, 10.0, 20.0)
    assert Measurements.merge([merged, second]).processes == 3


def test_a_process_that_had_nothing_to_do_counts_for_nothing() -> None:
    """A run that is resumed when all but the last process had finished."""
    idle = FIRST.model_copy(update={"tokens": 0, "tokens_per_second": None, "peak_gib": None})
    merged = Measurements.merge([idle, FIRST])
    assert (merged.tokens, merged.tokens_per_second, merged.peak_gib) == (1000, 100.0, 20.0)
    assert Measurements.merge([idle]).tokens_per_second is None
