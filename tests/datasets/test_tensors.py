"""Batches and stacks of examples."""

import torch

from goodinit.datasets import tensors
from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.tensors import Examples


def _examples(count=360, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 1, 4, 4), generator=generator, dtype=torch.uint8)
    return Examples(images, torch.arange(count))


def test_batches_contain_every_example_once():
    examples = _examples()
    batches = list(tensors.batches(examples, 100))
    assert [len(batch.labels) for batch in batches] == [100, 100, 100, 60]
    assert torch.equal(torch.cat([batch.images for batch in batches]), examples.images)
    assert torch.equal(torch.cat([batch.labels for batch in batches]), examples.labels)


def test_stack_of_the_same_batch_equals_the_stack_of_its_copies():
    examples = _examples()
    copies = [Examples(examples.images.clone(), examples.labels.clone()) for _ in range(3)]
    same, copied = tensors.stack([examples] * 3), tensors.stack(copies)
    assert same.images.stride(0) == 0
    assert copied.images.shape == (3, 360, 1, 4, 4)
    assert copied.labels.shape == (3, 360)
    for stacks in ((same, copied), map(Preprocessing().normalize, (same, copied))):
        for left, right in zip(*stacks, strict=True):
            assert torch.equal(left, right)


def test_examples_are_moved_and_replaced():
    examples = _examples()
    assert {tensor.device.type for tensor in examples.to("meta")} == {"meta"}
    assert examples.with_tensors(*examples[::-1]).images is examples.labels
