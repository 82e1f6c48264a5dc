"""Models: their layers, and what batch normalization and dropout do in training and in evaluation."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from goodinit.datasets import tensors
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula, initializers, models, objectives, optimizers, updates
from goodinit.methods.models.maxout import maxout
from goodinit.training import loop, stacking

torch.set_num_threads(1)  # as the command line does: with more, sums are split by how many there are


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _examples(count=200, features=12, seed=0):
    images = torch.randn(count, features, generator=_generator(seed))
    return Examples(images, (images[:, 0] > 0).long() + 2 * (images[:, 1] > 0).long())


def _net(seed=0, **options):
    """Return a net whose masks, too, follow from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = models.mlp((12,), 4, **{"hidden": [16, 8]} | options)
    initializers.he_normal(net, None, _generator(seed))
    return net


def _names(net):
    return [type(layer).__name__ for layer in net]


def test_perceptron_is_the_book_s():
    net = models.mlp((1, 28, 28), 10)
    assert sum(parameter.numel() for parameter in net.parameters()) == 784 * 100 + 100 + 3 * 10100 + 1010
    assert [type(layer) for layer in net] == [nn.Flatten, *[nn.Linear, nn.ReLU] * 4, nn.Linear]
    bare = models.mlp((100,), 0, hidden=[100] * 5, activation="tanh", bias=False)
    assert sum(parameter.numel() for parameter in bare.parameters()) == 5 * 100 * 100
    assert isinstance(bare[-1], nn.Tanh)


def _normalize(inputs, gain, shift):
    """Batch normalization by hand, in training mode."""
    return gain * (inputs - inputs.mean(0)) / np.sqrt(((inputs - inputs.mean(0)) ** 2).mean(0) + 1e-6) + shift


def test_batch_norm_by_hand_in_training_and_evaluation():
    layer = models.mlp((3,), 2, hidden=[3], batch_norm=True)[2]
    layer.gain.data, layer.shift.data = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 1.0, -1.0]])
    batches = [torch.randn(6, 3, generator=_generator(seed)) * 5 + 2 for seed in range(3)]
    mean, variance = np.zeros(3), np.zeros(3)  # the running ones start at 0, unlike torch's
    for batch in batches:
        expected = _normalize(batch.numpy(), [1, 2, 3], [0, 1, -1])
        np.testing.assert_allclose(layer(batch).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
        mean, variance = 0.9 * mean + 0.1 * batch.numpy().mean(0), 0.9 * variance + 0.1 * batch.numpy().var(0)
    layer.eval()
    expected = (batches[0].numpy() - mean) / np.sqrt(variance + 1e-6) * [1, 2, 3] + [0, 1, -1]
    np.testing.assert_allclose(layer(batches[0]).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_batch_norm_after_one_update_is_the_book_s_ratio():
    """Running statistics a tenth of the batch's: (x - mu / 10) / (sqrt(0.1) sigma)."""
    layer, batch = models.mlp((3,), 2, hidden=[3], batch_norm=True)[2], torch.randn(50, 3) + 4
    layer(batch)
    layer.eval()
    expected = (batch - 0.1 * batch.mean(0)) / (0.1**0.5 * batch.std(0, correction=0))
    torch.testing.assert_close(layer(batch), expected, rtol=1e-4, atol=1e-4)


def test_gradient_of_batch_norm_is_the_numerical_one():
    net = _net(batch_norm=True).double()
    inputs = torch.randn(5, 12, dtype=torch.float64, generator=_generator(), requires_grad=True)
    assert torch.autograd.gradcheck(net, inputs, eps=1e-6, atol=1e-6)


def test_batch_norm_stands_before_every_activation_and_does_not_decay():
    net = models.mlp((12,), 4, hidden=[16, 8], batch_norm=True)
    names = [type(layer).__name__ for layer in net]
    assert names == ["Flatten", "Linear", "BatchNorm", "ReLU", "Linear", "BatchNorm", "ReLU", "Linear"]
    assert [name for name, _ in net.named_parameters() if name.endswith("weight")] == [
        "1.weight",
        "4.weight",
        "7.weight",
    ]


def test_a_stack_with_batch_norm_trains_and_evaluates_each_net_as_if_alone():
    nets = [_net(seed, batch_norm=True) for seed in range(3)]
    stacked = stacking.stack(nets)
    batch = tensors.stack([_examples(seed=seed) for seed in range(3)])
    for _ in range(3):
        together = stacked(batch.images)
        for seed, net in enumerate(nets):
            torch.testing.assert_close(net(batch.images[seed]), together[seed], rtol=1e-5, atol=1e-5)
    stacked.eval()
    for seed, net in enumerate(nets):
        torch.testing.assert_close(net.eval()(batch.images[seed]), stacked(batch.images)[seed], rtol=1e-5, atol=1e-5)


RATIO = 0.3


def _dropout(seed=0, ratio=RATIO):
    return _net(seed, dropout=ratio)[3]


def test_dropout_in_training_keeps_what_it_does_not_drop_as_it_is():
    inputs = torch.rand(400, 250) + 1
    outputs = _dropout()(inputs)
    dropped = outputs == 0
    assert torch.equal(outputs[~dropped], inputs[~dropped])  # not divided by 1 - ratio
    assert abs(dropped.float().mean() - RATIO) < 4 * (RATIO * (1 - RATIO) / dropped.numel()) ** 0.5
    for share, count in ((dropped.float().mean(0), 400), (dropped.float().mean(1), 250)):
        assert (share - RATIO).abs().max() < 5 * (RATIO * (1 - RATIO) / count) ** 0.5


def test_dropout_passes_the_gradient_of_what_it_keeps():
    inputs = torch.ones(20, 30, requires_grad=True)
    outputs = _dropout()(inputs)
    outputs.sum().backward()
    assert torch.equal(inputs.grad, outputs)


def test_dropout_in_evaluation_multiplies_by_what_is_kept():
    layer, inputs = _dropout().eval(), torch.randn(50, 30)
    state = layer.generators[0].get_state()
    assert torch.equal(layer(inputs), inputs * (1 - RATIO))
    assert torch.equal(layer.generators[0].get_state(), state)  # draws nothing, so evaluation changes no training


def test_dropout_stands_after_every_hidden_activation_and_nowhere_else():
    assert _names(_net(dropout=0.2)) == ["Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    both = _net(dropout=0.2, batch_norm=True)
    assert _names(both) == ["Flatten", *["Linear", "BatchNorm", "ReLU", "Dropout"] * 2, "Linear"]
    assert [layer.ratio for layer in both if hasattr(layer, "ratio")] == [0.2, 0.2]
    assert _names(_net(dropout=0.0)) == _names(_net()) == ["Flatten", *["Linear", "ReLU"] * 2, "Linear"]


def test_dropout_changes_no_weight():
    for one, other in zip(_net().parameters(), _net(dropout=0.2).parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(ValueError, match="dropout must be at least 0 and less than 1"):
        models.mlp((12,), 4, dropout=ratio)


def test_masks_follow_from_the_seed_and_differ_elsewhere():
    def masks(seed):
        ones = torch.ones(50, 40)
        return [layer(ones) for layer in _net(seed, dropout=0.5) if hasattr(layer, "ratio") for _ in range(2)]

    first = masks(0)  # of two layers and two batches
    assert all(map(torch.equal, first, masks(0)))
    everything = [*first, *masks(1)]
    for place, one in enumerate(everything):
        for other in everything[:place]:
            assert abs((one == other).float().mean() - 0.5) < 5 * (0.25 / 2000) ** 0.5


def test_a_stack_has_the_masks_of_its_nets():
    nets = [_net(seed, dropout=RATIO) for seed in range(3)]
    stacked, inputs = stacking.stack(nets)[3], torch.randn(3, 20, 16)
    for _ in range(2):
        together = stacked(inputs)
        assert all(torch.equal(net[3](own), other) for net, own, other in zip(nets, inputs, together, strict=True))
    assert torch.equal(stacked.eval()(inputs), inputs * (1 - RATIO))


def _trained(seeds, steps=30):
    """Return the parameters of nets with dropout that were trained in one stacking."""
    stacked = stacking.stack([_net(seed, dropout=RATIO) for seed in seeds])
    update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
    orders = [curricula.full(_examples(), batch_size=20, steps=steps, generator=_generator(seed)) for seed in seeds]
    training = loop.Training(steps=steps, loss_after_update=True)
    batches = map(tensors.stack, zip(*orders, strict=True))
    losses = loop.fit(stacked, objectives.cross_entropy, batches, update, training).series["loss"][1]
    return [[torch.from_numpy(np.array(losses))[:, place], *(parameter[place] for parameter in stacked.parameters())]
            for place in range(len(seeds))]  # fmt: skip


def test_nets_with_dropout_are_trained_together_as_alone():
    for seed, together in enumerate(_trained([0, 1, 2])):
        (alone,) = _trained([seed])
        assert all(map(torch.equal, together, alone))


def test_quadratic_is_the_book_s():
    model = models.quadratic((0,), 0)
    assert model(torch.empty(1, 0)).item() == pytest.approx((-7) ** 2 / 20 + 2**2)
    loss, metrics = objectives.value(model, Examples(torch.empty(1, 0), torch.zeros(1)))
    loss.backward()
    assert model.position.grad.tolist() == pytest.approx([-7 / 10, 2 * 2])
    assert metrics == {}


@pytest.mark.parametrize(("start", "curvatures"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_quadratic_needs_a_curvature_for_each_coordinate(start, curvatures):
    with pytest.raises(ValueError, match="start and curvatures must have the same length"):
        models.quadratic((0,), 0, start=start, curvatures=curvatures)


def test_vgg16_is_torchvision_s_with_ten_outputs():
    vgg = models.vgg16((3, 224, 224), 10, dropout=0.5)
    assert sum(parameter.numel() for parameter in vgg.parameters()) == 134_301_514
    theirs = torchvision.models.vgg16(weights=None, num_classes=10)
    with torch.no_grad():
        for mine, other in zip(vgg.parameters(), theirs.parameters(), strict=True):
            assert mine.shape == other.shape
            mine.copy_(other)
        images = torch.randn(2, 3, 224, 224, generator=_generator())
        assert torch.equal(vgg.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize(
    ("batch_norm", "convolutions", "hidden"), [("none", 0, 0), ("conv", 13, 0), ("fc", 0, 2), ("both", 13, 2)]
)
def test_vgg16_is_normalized_where_it_says_before_the_activation(batch_norm, convolutions, hidden):
    net = models.vgg16((3, 32, 32), 10, batch_norm=batch_norm, width=0.125, units=16, dropout=0.5)
    for layers, count in ((list(net.features), convolutions), (list(net), hidden)):
        places = [i for i, layer in enumerate(layers) if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert len(places) == count
        assert all(isinstance(layers[i - 1], nn.Linear | nn.Conv2d) for i in places)
        assert all(isinstance(layers[i + 1], nn.ReLU) for i in places)
    kinds = [type(layer) for layer in net if not isinstance(layer, nn.BatchNorm1d)]
    dense = [nn.Linear, nn.ReLU, nn.Dropout]
    assert kinds == [nn.Sequential, nn.Flatten, *dense, *dense, nn.Linear]
    assert [net.fc1.in_features, net.fc2.in_features, net.fc3.in_features] == [64, 16, 16]


def _vgg_dropout(inverted=False, dropout=0.25, seed=0):
    """Return a small VGG-16 whose masks follow from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options = {"dropout": dropout, "inverted_dropout": inverted}
        return models.vgg16((3, 32, 32), 10, width=0.125, units=16, **options)


def test_vgg16_s_dropout_masks_in_training_and_scales_in_evaluation():
    """Hori et al. (2019), equations 3 and 4 with p = 0.75, by hand; the usual one scales in training."""
    layer, usual = _vgg_dropout().dropout1, _vgg_dropout(inverted=True).dropout1
    outputs = torch.tensor([[1.0, -2.0, 3.0, 4.0]]).repeat(5, 1)
    mask = torch.rand(5, 4, generator=torch.Generator().manual_seed(7)) > 0.25
    layer.generators[0].manual_seed(7)
    assert torch.equal(layer(outputs), torch.where(mask, outputs, 0))
    assert 0 < mask.sum() < 20
    assert layer.eval()(outputs)[0].tolist() == [0.75, -1.5, 2.25, 3.0]
    assert usual(torch.ones(50, 40)).unique().tolist() == [0, pytest.approx(4 / 3)]
    assert torch.equal(usual.eval()(outputs), outputs)


def test_vgg16_s_dropout_passes_the_gradient_of_what_it_keeps():
    layer, inputs = _vgg_dropout().dropout2, torch.ones(20, 16, requires_grad=True)
    outputs = layer(inputs)
    outputs.sum().backward()
    assert torch.equal(inputs.grad, outputs)
    assert set(inputs.grad.unique().tolist()) == {0, 1}


def test_vgg16_s_masks_follow_from_the_seed_and_differ_between_layers():
    def masks(seed):
        net = _vgg_dropout(seed=seed, dropout=0.5)
        return [layer(torch.ones(30, 16)) for layer in (net.dropout1, net.dropout2)]

    assert all(map(torch.equal, masks(0), masks(0)))
    assert not torch.equal(*masks(0))
    assert not torch.equal(masks(0)[0], masks(1)[0])


def test_vgg16_without_dropout_is_the_same_whichever_its_kind():
    images = torch.randn(2, 3, 32, 32, generator=_generator())
    assert torch.equal(*(_vgg_dropout(inverted, 0.0)(images) for inverted in (False, True)))


@pytest.mark.parametrize(("shape", "units"), [((3, 32, 32), 2), ((3, 64, 64), 2 * 4), ((1, 32, 96), 2 * 3)])
def test_vgg16_takes_other_sizes(shape, units):
    net = models.vgg16(shape, 5, width=1 / 256, units=16)
    assert net.fc1.in_features == units
    assert net(torch.zeros(2, *shape)).shape == (2, 5)


@pytest.mark.parametrize(
    ("shape", "options"),
    [((3, 28, 28), {}), ((784,), {})] + [((3, 32, 32), one) for one in ({"width": 0}, {"units": 0}, {"dropout": 1})],
)  # fmt: skip
def test_vgg16_refuses_what_it_cannot_be(shape, options):
    with pytest.raises(ValueError, match="vgg16: "):
        models.vgg16(shape, 10, **options)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_maxout_is_the_largest_piece_and_its_gradient_is_the_winner_s(count):
    pieces = [torch.randn(4, 3, 5, 5, generator=_generator(seed)).requires_grad_() for seed in range(count)]
    weights = torch.randn(4, 3, 5, 5, generator=_generator(9))
    outputs = maxout(pieces)
    largest, winner = torch.stack(pieces).max(0)
    assert torch.equal(outputs, largest)
    with torch.no_grad():
        assert torch.equal(maxout(pieces), largest)
    for place, gradient in enumerate(torch.autograd.grad((outputs * weights).sum(), pieces)):
        assert torch.equal(gradient, weights * (winner == place))


def test_the_first_of_equal_pieces_has_the_whole_gradient():
    pieces = [torch.tensor([1.0, 0.0, 2.0, 2.0], requires_grad=True) for _ in range(3)]
    gradients = torch.autograd.grad(maxout(pieces).sum(), pieces)
    assert [gradient.tolist() for gradient in gradients] == [[1] * 4, [0] * 4, [0] * 4]


def test_maxout_has_second_derivatives():
    pieces = [torch.randn(6, dtype=torch.float64, generator=_generator(seed)).requires_grad_() for seed in range(3)]
    assert torch.autograd.gradgradcheck(lambda *some: maxout([one**3 for one in some]), pieces)
