"""What is kept of a prepared set, and the numbers that are subtracted from it."""

import warnings

import torch

from goodinit.datasets import cache
from goodinit.datasets.tensors import Examples

__all__ = ["channels", "check_positive", "parts_of"]


def parts_of(label, name, root, parts):
    """Return the training and test examples that are kept, and the manifest, of a prepared set."""
    arrays, facts = cache.load(name, str(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of maps that must not be written to: no one does
        images, labels, *rest = map(torch.from_numpy, arrays)
    train_examples, test_examples, validation_examples = parts
    train, test = Examples(images, labels), Examples(*rest)
    train, test = _first(label, "train", train, train_examples), _first(label, "test", test, test_examples)
    if not 0 <= validation_examples < len(train.labels):
        raise ValueError(
            f"{label}: validation_examples: {validation_examples} leaves nothing of "
            f"{len(train.labels)} training examples; at most {len(train.labels) - 1}"
        )
    return train, test, facts


def channels(facts, scale, center, standardize):
    """Return what pixels, in these units, have subtracted, and are divided by: (C, 1, 1) each, or None."""
    if not (center or standardize):
        return None, None
    mean, sd = (torch.tensor(facts[what]).view(-1, 1, 1) for what in ("mean", "sd"))
    return (mean, sd) if standardize else (mean if scale is None else mean * (255 * scale), None)


def check_positive(label, **options):
    """Raise ValueError where an option is given and not more than 0."""
    for option, value in options.items():
        if value is not None and value <= 0:
            raise ValueError(f"{label}: {option}: {value} is not more than 0")


def _first(name, part, examples, count):
    if count is None:
        return examples
    if not 1 <= count <= len(examples.labels):
        raise ValueError(f"{name}: {part}_examples: {count} is not between 1 and {len(examples.labels)}")
    return Examples(examples.images[:count], examples.labels[:count])
