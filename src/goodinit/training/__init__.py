"""Training: from runs to records."""
