"""`dialogsum serve` as a process of a station."""

import time

from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from flows.listening import in_url
from flows.station.processes import (
    announce_step,
    answers,
    our_code,
    read_process_file,
    running_process,
    start_process,
    station_folder,
)

LOAD_TIMEOUT = 30.0
"""Seconds for the champion to be loaded; afterwards `station up` goes on and reports that it does not answer."""


def start_serving(host: str, port: int | None, recipe: str | None) -> None:
    """Start `dialogsum serve` at `port`, or again where it was. It answers once the champion is loaded."""
    record = read_process_file("serve")
    noted, recipe = record.get("url", ""), recipe or record.get("recipe")
    url = f"http://{in_url(host)}:{port}" if port else noted
    if running_process("serve") is not None:
        if url != noted:
            raise RequestError(f"`dialogsum serve` already runs at {noted}: run `dialogsum station down` first")
    elif url:
        command = ["serve", "--host", host, "--port", url.rsplit(":", 1)[1], *(["--recipe", recipe] if recipe else [])]
        announce_step(f"starting `dialogsum serve` at {url}")
        start_process("serve", command, our_code(), module="flows.cli", url=url, recipe=recipe or "")
        until = time.monotonic() + LOAD_TIMEOUT
        while not answers(url) and time.monotonic() < until:
            if running_process("serve") is None:
                log = station_folder() / "serve.log"
                raise StageError(f"`dialogsum serve` ended: {one_line(log.read_text()[-300:])} ({log})")
            time.sleep(0.5)
