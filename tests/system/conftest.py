"""The browser that the tests of pages share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browsers import offline_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Chromium with a profile of its own and its network switched off."""
    driver = offline_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
