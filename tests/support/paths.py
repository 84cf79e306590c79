"""Paths of the repository and of the bundled sample."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tasks" / "sources" / "sample"
