"""The multilayer perceptron: layers, batch normalization and dropout, alone and in a stack of models."""

import numpy as np
import pytest
import torch
from sample_models import seeded
from torch import nn

from goodinit.datasets import tensors
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula, initializers, models, objectives, optimizers, updates
from goodinit.studies import Training
from goodinit.training import loop, stacking

RATIO = 0.3


def _examples(count=200, features=12, seed=0):
    images = torch.randn(count, features, generator=seeded(seed))
    return Examples(images, (images[:, 0] > 0).long() + 2 * (images[:, 1] > 0).long())


def _model(seed=0, **options):
    """Return a model whose weights and dropout masks depend on the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = models.mlp((12,), 4, **{"hidden": [16, 8]} | options)
    initializers.he_normal(model, None, seeded(seed))
    return model


def _dropout(seed=0, ratio=RATIO):
    return _model(seed, dropout=ratio)[3]


def _class_names(model):
    return [type(layer).__name__ for layer in model]


def test_default_is_the_textbook_s_network():
    model = models.mlp((1, 28, 28), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 784 * 100 + 100 + 3 * 10100 + 1010
    assert [type(layer) for layer in model] == [nn.Flatten, *[nn.Linear, nn.ReLU] * 4, nn.Linear]


def test_output_layer_and_biases_are_optional():
    model = models.mlp((100,), 0, hidden=[100] * 5, activation="tanh", bias=False)
    assert sum(parameter.numel() for parameter in model.parameters()) == 5 * 100 * 100
    assert isinstance(model[-1], nn.Tanh)


def _normalize(inputs, gain, shift):
    """Batch normalization by hand, in training mode."""
    return gain * (inputs - inputs.mean(0)) / np.sqrt(((inputs - inputs.mean(0)) ** 2).mean(0) + 1e-6) + shift


def test_batch_norm_by_hand_in_training_and_evaluation():
    layer = models.mlp((3,), 2, hidden=[3], batch_norm=True)[2]
    layer.gain.data, layer.shift.data = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 1.0, -1.0]])
    batches = [torch.randn(6, 3, generator=seeded(seed)) * 5 + 2 for seed in range(3)]
    mean, variance = np.zeros(3), np.zeros(3)  # the initial running averages, unlike those of torch
    for batch in batches:
        expected = _normalize(batch.numpy(), [1, 2, 3], [0, 1, -1])
        np.testing.assert_allclose(layer(batch).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
        mean, variance = 0.9 * mean + 0.1 * batch.numpy().mean(0), 0.9 * variance + 0.1 * batch.numpy().var(0)
    layer.eval()
    expected = (batches[0].numpy() - mean) / np.sqrt(variance + 1e-6) * [1, 2, 3] + [0, 1, -1]
    np.testing.assert_allclose(layer(batches[0]).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_batch_norm_after_one_update_in_closed_form():
    """The running averages are a tenth of the batch statistics: (x - mu / 10) / (sqrt(0.1) sigma)."""
    layer, batch = models.mlp((3,), 2, hidden=[3], batch_norm=True)[2], torch.randn(50, 3) + 4
    layer(batch)
    layer.eval()
    expected = (batch - 0.1 * batch.mean(0)) / (0.1**0.5 * batch.std(0, correction=0))
    torch.testing.assert_close(layer(batch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_half_precision_inputs_is_computed_in_single_precision(training):
    layers = [models.mlp((3,), 2, hidden=[5], batch_norm=True)[2].train(training) for _ in range(2)]
    inputs = (100 + torch.randn(40, 5, generator=seeded())).bfloat16()
    outputs = [layers[0](inputs), layers[1](inputs.float())]
    assert torch.equal(*outputs)
    assert torch.equal(layers[0].running_variance, layers[1].running_variance)


def test_gradient_of_batch_norm_equals_the_numerical_gradient():
    model = _model(batch_norm=True).double()
    inputs = torch.randn(5, 12, dtype=torch.float64, generator=seeded(), requires_grad=True)
    assert torch.autograd.gradcheck(model, inputs, eps=1e-6, atol=1e-6)


def test_batch_norm_precedes_every_activation_and_has_no_parameter_named_weight():
    model = models.mlp((12,), 4, hidden=[16, 8], batch_norm=True)
    assert _class_names(model) == ["Flatten", *["Linear", "BatchNorm", "ReLU"] * 2, "Linear"]
    weights = [name for name, _ in model.named_parameters() if name.endswith("weight")]
    assert weights == ["1.weight", "4.weight", "7.weight"]  # to which weight decay applies


def test_a_stack_with_batch_norm_computes_the_outputs_of_its_models():
    separate = [_model(seed, batch_norm=True) for seed in range(3)]
    stack = stacking.stack(separate)
    batch = tensors.stack([_examples(seed=seed) for seed in range(3)])
    for _ in range(3):
        outputs = stack(batch.images)
        for seed, model in enumerate(separate):
            torch.testing.assert_close(model(batch.images[seed]), outputs[seed], rtol=1e-5, atol=1e-5)
    outputs = stack.eval()(batch.images)
    for seed, model in enumerate(separate):
        torch.testing.assert_close(model.eval()(batch.images[seed]), outputs[seed], rtol=1e-5, atol=1e-5)


def test_dropout_does_not_scale_outputs_in_training():
    inputs = torch.rand(400, 250) + 1
    outputs = _dropout()(inputs)
    dropped = outputs == 0
    assert torch.equal(outputs[~dropped], inputs[~dropped])
    assert abs(dropped.float().mean() - RATIO) < 4 * (RATIO * (1 - RATIO) / dropped.numel()) ** 0.5
    for rate, count in ((dropped.float().mean(0), 400), (dropped.float().mean(1), 250)):
        assert (rate - RATIO).abs().max() < 5 * (RATIO * (1 - RATIO) / count) ** 0.5


def test_gradient_of_dropout_is_the_mask():
    inputs = torch.ones(20, 30, requires_grad=True)
    outputs = _dropout()(inputs)
    outputs.sum().backward()
    assert torch.equal(inputs.grad, outputs)


def test_dropout_scales_outputs_in_evaluation_and_draws_nothing():
    layer, inputs = _dropout().eval(), torch.randn(50, 30)
    state = layer.generators[0].get_state()
    assert torch.equal(layer(inputs), inputs * (1 - RATIO))
    assert torch.equal(layer.generators[0].get_state(), state)  # so that evaluation does not change training


def test_dropout_follows_every_hidden_activation():
    assert _class_names(_model(dropout=0.2)) == ["Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    both = _model(dropout=0.2, batch_norm=True)
    assert _class_names(both) == ["Flatten", *["Linear", "BatchNorm", "ReLU", "Dropout"] * 2, "Linear"]
    assert [layer.ratio for layer in both if hasattr(layer, "ratio")] == [0.2, 0.2]
    assert _class_names(_model(dropout=0.0)) == _class_names(_model()) == ["Flatten", *["Linear", "ReLU"] * 2, "Linear"]


def test_dropout_does_not_change_the_weights():
    for with_dropout, without in zip(_model(dropout=0.2).parameters(), _model().parameters(), strict=True):
        assert torch.equal(with_dropout, without)


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5])
def test_a_dropout_ratio_out_of_range_is_rejected(ratio):
    with pytest.raises(ValueError, match="dropout must be at least 0 and less than 1"):
        models.mlp((12,), 4, dropout=ratio)


def test_dropout_masks_depend_on_the_seed_the_layer_and_the_batch():
    def masks(seed):
        ones = torch.ones(50, 40)
        return [layer(ones) for layer in _model(seed, dropout=0.5) if hasattr(layer, "ratio") for _ in range(2)]

    first = masks(0)  # of two layers and two batches
    assert all(map(torch.equal, first, masks(0)))
    independent = [*first, *masks(1)]
    for index, mask in enumerate(independent):
        for other in independent[:index]:
            assert abs((mask == other).float().mean() - 0.5) < 5 * (0.25 / 2000) ** 0.5


def test_a_stack_has_the_dropout_masks_of_its_models():
    separate = [_model(seed, dropout=RATIO) for seed in range(3)]
    layer, inputs = stacking.stack(separate)[3], torch.randn(3, 20, 16)
    for _ in range(2):
        outputs = layer(inputs)
        for seed, model in enumerate(separate):
            assert torch.equal(model[3](inputs[seed]), outputs[seed])
    assert torch.equal(layer.eval()(inputs), inputs * (1 - RATIO))


def _train(seeds, steps=30):
    """Train a stack of models with dropout; return the losses and the parameters of each."""
    stack = stacking.stack([_model(seed, dropout=RATIO) for seed in seeds])
    update = updates.synchronous(stack, optimizers.sgd(stack.named_parameters(), lr=0.1), None)
    batches = [curricula.full(_examples(), batch_size=20, steps=steps, generator=seeded(seed)) for seed in seeds]
    training = Training(steps=steps, loss_after_update=True)
    stacked_batches = map(tensors.stack, zip(*batches, strict=True))
    history = loop.fit(stack, objectives.cross_entropy, stacked_batches, update, training)
    losses = torch.from_numpy(np.array(history.series["loss"][1]))
    parameters = list(stack.parameters())
    return [[losses[:, index], *(parameter[index] for parameter in parameters)] for index in range(len(seeds))]


def test_models_with_dropout_train_in_a_stack_as_if_alone():
    for seed, in_stack in enumerate(_train([0, 1, 2])):
        (alone,) = _train([seed])
        assert all(map(torch.equal, in_stack, alone))


def test_every_hidden_layer_needs_a_unit():
    with pytest.raises(ValueError, match="every layer must have at least 1 unit"):
        models.mlp((12,), 4, hidden=[3, 0])
