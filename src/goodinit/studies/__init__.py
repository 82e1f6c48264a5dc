"""Studies: from a YAML file to validated runs; without torch."""

from goodinit.studies.study import DEFAULTS, PARTS, SCALES, Job, Run, Study, fill, find, load, load_all, works

__all__ = ["DEFAULTS", "PARTS", "SCALES", "Job", "Run", "Study", "fill", "find", "load", "load_all", "works"]
