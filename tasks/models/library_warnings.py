"""Keep the remarks of the model libraries off the terminal, at their source."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

KERNELS = "bitsandbytes.backends.cpu.ops"
"""Its logger warns that a faster kernel was not found on the hub, which nothing here needs."""


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop FutureWarnings, which one library of the stack has about another, and that warning; all else is shown."""

    def unneeded(record: logging.LogRecord) -> bool:
        return "gemm_4bit_forward" not in record.getMessage()

    logger = logging.getLogger(KERNELS)
    logger.addFilter(unneeded)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.removeFilter(unneeded)
