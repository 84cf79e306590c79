"""A worker of a station: `python -m flows.station.worker worker start …`, as `prefect worker start …`.

Prefect's worker ends after a quarter of an hour without its server, and its runs with it; after half a minute it no
longer notices that a run is cancelled. Here all of its requests wait for the server, however long it takes.
"""

if __name__ == "__main__":
    from prefect.cli import app

    from tasks.server_outage import wait_through_outages

    wait_through_outages(seconds=float("inf"))
    app()
