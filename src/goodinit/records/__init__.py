"""Records of runs: what they hold, how they are stored, and whether they are current."""

from goodinit.records.record import AXES, LEARNED_BELOW, STATUSES, RunRecord, Series, Status
from goodinit.records.staleness import known, read_current, verify
from goodinit.records.storage import path, read, write

__all__ = [
    "AXES",
    "LEARNED_BELOW",
    "STATUSES",
    "RunRecord",
    "Series",
    "Status",
    "known",
    "path",
    "read",
    "read_current",
    "verify",
    "write",
]
