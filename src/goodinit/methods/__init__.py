"""Methods: models, initializers, optimizers, updates, curricula, objectives and diagnostics; they access no files."""
