"""Suppress warnings of the model libraries that users cannot act on."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

KERNEL_LOGGER = "bitsandbytes.backends.cpu.ops"
"""Warns that a faster kernel was not found on the hub, which is not needed."""


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop the warning of KERNEL_LOGGER and FutureWarnings, which one library gives about another; show all others."""

    def is_relevant(record: logging.LogRecord) -> bool:
        return "gemm_4bit_forward" not in record.getMessage()

    logger = logging.getLogger(KERNEL_LOGGER)
    logger.addFilter(is_relevant)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.removeFilter(is_relevant)
