"""Records of runs: what they hold, how they are stored, and where they come from."""

from goodinit.records.storage import (
    AXES,
    LEARNED_BELOW,
    RunRecord,
    Series,
    known,
    path,
    read,
    read_current,
    verify,
    write,
)

__all__ = [
    "AXES",
    "LEARNED_BELOW",
    "RunRecord",
    "Series",
    "known",
    "path",
    "read",
    "read_current",
    "verify",
    "write",
]
