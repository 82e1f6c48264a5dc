"""From records to tables, figures and verdicts: pandas and matplotlib, never torch."""

__all__ = ["DEMONSTRATION"]

# What pages and figures at demo scale say.
DEMONSTRATION = "A demonstration at a small scale, on stand-in data: not a replication"
