"""Where the repository and the bundled sample lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tasks" / "sources" / "sample"
