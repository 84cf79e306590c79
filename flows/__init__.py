"""Prefect flows and the command line. Imported before Prefect, which reads its settings once."""

import os

# a station takes a run of ours for dead after 90 s without a heartbeat (flows/provision.py); Prefect's own pace is 180 s
os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
