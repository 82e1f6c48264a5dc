"""Data sets: from files to tensors, prepared once."""
