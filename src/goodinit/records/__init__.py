"""Records of runs: what they hold, how they are stored, and whether they are current."""

from goodinit.records.record import AXES, STATUSES, RunRecord, Series, Status, guessing_bound
from goodinit.records.staleness import check_current, find_trained, read_current
from goodinit.records.storage import path, read, write

__all__ = [
    "AXES",
    "STATUSES",
    "RunRecord",
    "Series",
    "Status",
    "check_current",
    "find_trained",
    "guessing_bound",
    "path",
    "read",
    "read_current",
    "write",
]
