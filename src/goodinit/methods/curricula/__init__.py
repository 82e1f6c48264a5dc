"""Curricula: which training examples each mini-batch contains, and in which order."""

from goodinit.methods.curricula.batches import BatchSchedule as BatchSchedule
from goodinit.methods.curricula.batches import full
from goodinit.methods.curricula.stages import progressive
from goodinit.methods.curricula.streaming import streamed
from goodinit.methods.curricula.subset_selection import SELECTIONS as SELECTIONS

# What a study may name.
__all__ = ["full", "progressive", "streamed"]
