"""The folders of this checkout, so that tests run in any working directory."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIGS, RESULTS = ROOT / "configs", ROOT / "results"
