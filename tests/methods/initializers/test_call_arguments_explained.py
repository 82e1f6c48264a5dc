"""Batches that contain more than the inputs of a model, and what the error tells the user to pass."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from goodinit import lsuv
from goodinit.errors import InputError


class _Tokens(nn.Module):
    """A model of tokens, with an optional argument."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, ids, attention_mask=None):
        return self.fc(ids)


class _Pair(nn.Module):
    """A model of two inputs."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, left, right):
        return self.fc(left) + self.fc(right)


class _Any(nn.Module):
    """A wrapper of a model, whose forward takes any arguments."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, *args, **kwargs):
        return self.fc(*args, **kwargs)


class _Sequence(nn.Sequential):
    """A sequence of one layer."""

    def __init__(self):
        super().__init__(nn.Linear(4, 2))


ROWS, LABELS = torch.linspace(-1, 1, 32).view(8, 4), torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize(
    ("model", "data", "messages"),
    [
        (
            _Tokens,
            {"input_ids": ROWS, "attention_mask": ROWS},
            ["data has the keys input_ids, attention_mask, but forward takes ids, attention_mask: pass the inputs"],
        ),
        (
            _Tokens,
            {"attention_mask": ROWS},
            ["data has the keys attention_mask, but forward takes ids, attention_mask: pass the inputs"],
        ),
        (
            _Tokens,
            {"input_ids": ROWS},
            ["data has the keys input_ids, but forward takes ids, attention_mask: pass the inputs"],
        ),
        *[
            (_Sequence, data, ["data has the keys image, label, but forward takes input: pass the inputs"])
            for data in (
                {"image": ROWS, "label": LABELS},
                DataLoader([{"image": row, "label": 1} for row in ROWS], batch_size=8),
            )
        ],
        (_Sequence, (ROWS, LABELS, LABELS), ["data has 3 elements", "pass the inputs alone"]),
        (
            _Sequence,
            ((ROWS, ROWS), LABELS),
            ["an argument of forward is a tuple: pass the inputs, a tensor or a tuple of tensors"],
        ),
        (
            _Pair,
            {"left": ROWS, "label": LABELS},
            ["has no argument 'label'; it takes left, right, and data has the keys left, label"],
        ),
        (_Pair, ((ROWS, ROWS), LABELS), ["an argument of forward is a tuple: pass the inputs"]),
        (_Any, (ROWS, LABELS), ["TypeError", "forward takes any number of arguments: pass the inputs alone"]),
    ],
)
def test_batches_with_more_than_the_inputs_are_explained(model, data, messages):
    with pytest.raises(InputError) as error:
        lsuv(model(), data, seed=0)
    assert not [message for message in messages if message not in str(error.value)], error.value
