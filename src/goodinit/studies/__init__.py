"""Studies: from a YAML file to validated runs; without torch."""

from goodinit.studies.loading import find, load, load_all, works
from goodinit.studies.outputs import At, Claim, FigureSpec, Measure, Reported, Where, as_list
from goodinit.studies.runs import DEFAULTS, PARTS, Job, Label, Parts, Run, fill, number_of_classes
from goodinit.studies.study import SCALES, Study
from goodinit.studies.training import Training

__all__ = [
    "DEFAULTS",
    "PARTS",
    "SCALES",
    "At",
    "Claim",
    "FigureSpec",
    "Job",
    "Label",
    "Measure",
    "Parts",
    "Reported",
    "Run",
    "Study",
    "Training",
    "Where",
    "as_list",
    "fill",
    "find",
    "load",
    "load_all",
    "number_of_classes",
    "works",
]
