"""Records of runs: what they hold, how they are stored, and whether they are current."""

from goodinit.records.record import AXES, STATUSES, RunRecord, Series, Status, guessing_bound
from goodinit.records.staleness import known, read_current, verify
from goodinit.records.storage import path, read, write

__all__ = [
    "AXES",
    "STATUSES",
    "RunRecord",
    "Series",
    "Status",
    "guessing_bound",
    "known",
    "path",
    "read",
    "read_current",
    "verify",
    "write",
]
