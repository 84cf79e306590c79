"""Pools, limits, automations and deployments of a station, and the slots that no run holds."""

import os
import subprocess
import sys

from artifacts.code_fingerprint import ROOT
from artifacts.errors import StageError
from artifacts.text import one_line
from flows.station.default_recipe import choose, deployments_with, newest_champion
from flows.station.processes import station_folder


def deploy(limits: list[str], notify: list[str] | None, recipe: str | None) -> None:
    """Create or update what the station needs on its server. StageError if `prefect deploy` fails.

    limits: names of the concurrency limits of GPUs.
    notify: Apprise URLs that get announcements; None leaves them as they are.
    recipe: the recipe of the deployments; None: that of an earlier `up`, or the default one.
    """
    from prefect.client.orchestration import get_client

    from flows.champion_settings import missing_overrides_note
    from flows.station.provisioning import provision, station_overrides

    with get_client(sync_client=True) as client:
        announced = provision(client, limits, notify)
        overrides = station_overrides(client)
    default, line = choose(recipe, station_folder() / "recipe.json", overrides)
    print(line)
    print(f"announcements go to: {', '.join(announced) or 'nobody; --notify URL names a service'}")
    champion = newest_champion()
    if champion is not None and (note := missing_overrides_note(champion, default.recipe, overrides)):
        print(note)
    deployments = station_folder() / "prefect.yaml"
    deployments.write_text(deployments_with(default.recipe), encoding="utf-8")
    deployed = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(deployments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    if deployed.returncode:
        raise StageError(f"`prefect deploy --all` failed: {one_line((deployed.stdout + deployed.stderr)[-400:])}")


def free_slots() -> None:
    """Free the slots of GPU limits that no run holds, and print their names."""
    from prefect.client.orchestration import get_client

    from flows.station.slot_recovery import free_unheld

    with get_client(sync_client=True) as client:
        for limit in free_unheld(client, station_folder()):
            print(f"freed the slot of {limit!r}, which no run held")
