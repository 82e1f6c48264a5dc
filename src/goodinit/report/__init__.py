"""From records to tables, figures and verdicts: pandas and matplotlib, never torch."""
