"""Curricula: which training examples each mini-batch contains, and in which order.

All have the signature `(train, batch_size, steps, generator, subset_generator, *, options)` and return a
`BatchSchedule`.
"""

from goodinit.methods.curricula.batches import BatchSchedule as BatchSchedule
from goodinit.methods.curricula.batches import full
from goodinit.methods.curricula.stages import progressive
from goodinit.methods.curricula.streaming import streamed
from goodinit.methods.curricula.subset_selection import SELECTIONS as SELECTIONS

# What a study may name.
__all__ = ["full", "progressive", "streamed"]
