"""Statistics of activations, gradients and outputs of layers, compared with results computed by hand."""

import math

import numpy as np
import pytest
import torch
from sample_convnets import new_convnet_with_dropout
from sample_models import seeded
from torch import nn
from torch.nn import functional

from goodinit.datasets.tensors import Examples
from goodinit.methods import diagnostics, initializers, models


def _batch(inputs):
    return Examples(inputs, torch.zeros(len(inputs), dtype=torch.int64))


def _net(activation, std, layers=3, units=50):
    model = models.mlp((units,), 0, hidden=[units] * layers, activation=activation, bias=False)
    initializers.gaussian(model, None, seeded(), std=std)
    return model


def _activations(model, inputs, **options):
    with diagnostics.activations(model, _batch(inputs), seeded(), **options) as observe:
        return observe(0)


def _gradients(model, inputs):
    with diagnostics.gradients(model, _batch(inputs), seeded()) as observe:
        return observe(0)


def test_statistics_equal_a_slow_transcription():
    inputs = torch.randn(200, 50, generator=seeded(1))
    model = _net("tanh", 0.3)
    values = _activations(model, inputs, bins=10)
    outputs = inputs
    for layer in range(3):
        outputs = np.tanh(outputs.numpy() @ model[1 + 2 * layer].weight.detach().numpy().T)
        assert np.isclose(values["activation_mean"][layer], outputs.mean(), atol=1e-5)
        assert np.isclose(values["activation_sd"][layer], outputs.std(), atol=1e-5)
        assert np.isclose(values["activation_sd_over_inputs"][layer], outputs.std(0).mean(), atol=1e-5)
        assert np.isclose(values["share_low"][layer], (outputs < -0.98).mean(), atol=1e-3)
        assert np.isclose(values["share_high"][layer], (outputs > 0.98).mean(), atol=1e-3)
        assert np.isclose(values["share_saturated"][layer], (abs(outputs) > 0.98).mean(), atol=1e-3)
        assert abs(values["activation_count"][layer] - np.histogram(outputs, 10, (-1, 1))[0]).max() <= 2
        outputs = torch.from_numpy(outputs)
    assert np.allclose(values["activation_edge"], np.linspace(-1, 1, 11)[:-1])


def test_statistics_of_bfloat16_outputs_are_computed_in_single_precision():
    """In bfloat16, a count does not exceed 256, and a mean has eight bits."""
    inputs = torch.randn(200, 50, generator=seeded(1))
    model = _net("relu", 0.3)
    expected = _activations(model, inputs, bins=4)
    with torch.autocast("cpu", torch.bfloat16):
        values = _activations(model, inputs, bins=4)
    assert values["activation_count"].sum(1).tolist() == [10_000] * 3
    for name in ("activation_mean", "activation_sd", "share_zero"):
        np.testing.assert_allclose(values[name], expected[name], rtol=2e-3)


def test_the_standard_deviation_over_inputs_excludes_that_between_units():
    """Each unit has a constant output, and the constants differ."""
    model = nn.Sequential(nn.Linear(1, 2), nn.Sigmoid())
    model[0].weight.data.zero_()
    model[0].bias.data = torch.tensor([-20.0, 20.0])
    values = _activations(model, torch.tensor([[1.0], [2.0], [3.0]]), bins=4)
    assert values["activation_sd"].tolist() == pytest.approx([0.5])
    assert values["activation_sd_over_inputs"].tolist() == [0]
    assert values["activation_entropy"].tolist() == pytest.approx([0.5])  # two of four bins are equal: log 2 / log 4


def test_a_few_large_gradients_dominate_the_mean_square_and_not_the_median():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Sigmoid(), nn.Linear(4, 4, bias=False))
    model[0].weight.data = torch.diag(torch.tensor([40.0, 40.0, 40.0, 0.0]))  # three units are saturated
    model[2].weight.data = 100 * torch.eye(4)
    values = _gradients(model, torch.ones(1, 4))
    cotangents = torch.randn(1, 4, generator=seeded())
    assert values["gradient_variance"][0] == pytest.approx((25 * cotangents[0, 3].item()) ** 2 / 4, rel=1e-4)
    assert values["gradient_median"][0] < 1e-6
    assert values["gradient_median"][1] == pytest.approx(cotangents.abs().median().item())
    assert values["share_vanished"].tolist() == [0.75, 0]


def test_dead_units_zeros_and_histogram_of_rectifiers():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU())
    model[0].weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    values = _activations(model, torch.tensor([[1.0, -1.0], [2.0, 4.0]]), bins=4)
    assert values["share_dead"].tolist() == pytest.approx([1 / 3])
    assert values["share_zero"].tolist() == pytest.approx([0.5])
    assert values["activation_count"].tolist() == [[3, 1, 1, 1]]
    assert values["activation_edge"].tolist() == [[0, 1, 2, 3]]
    assert np.isnan(values["share_saturated"]).all()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_every_output_is_in_the_histogram(activation):
    values = _activations(_net(activation, 1.0), torch.randn(100, 50, generator=seeded(1)))
    assert (values["activation_count"].sum(1) == 100 * 50).all()
    assert {name: value.shape[1:] for name, value in values.items()} == {
        name: (30,) * (len(diagnostics.DIMENSIONS[name]) - 1) for name in values
    }


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_a_network_that_diverged_has_an_empty_histogram(activation):
    model = _net(activation, 1.0)
    nn.init.constant_(model[1].weight, math.nan)
    values = _activations(model, torch.randn(10, 50, generator=seeded(1)))
    assert not values["activation_count"].any()
    assert np.isnan(values["activation_entropy"]).all()
    assert np.isnan(values["activation_mean"]).all()


def test_gradients_equal_back_propagation_by_hand():
    inputs = torch.randn(300, 50, generator=seeded(1))
    model = _net("tanh", 0.2)
    values = _gradients(model, inputs)
    cotangent = torch.randn(300, 50, generator=seeded()).numpy()
    weights = [model[index].weight.detach().numpy() for index in (1, 3, 5)]
    outputs = [inputs.numpy()]
    for weight in weights:
        outputs.append(np.tanh(outputs[-1] @ weight.T))
    gradient = cotangent
    for layer in (2, 1, 0):
        delta = gradient * (1 - outputs[layer + 1] ** 2)
        assert np.isclose(values["gradient_variance"][layer], (delta**2).mean(), rtol=1e-4)
        assert np.isclose(
            values["weight_gradient_variance"][layer], ((delta.T @ outputs[layer]) ** 2).mean(), rtol=1e-4
        )
        gradient = delta @ weights[layer]


def test_weight_gradients_of_the_loss_are_those_of_the_parameters():
    model, labels = _net("tanh", 0.2), torch.arange(40) % 50
    batch = Examples(torch.randn(40, 50, generator=seeded(1)), labels)
    with diagnostics.gradients(model, batch, seeded(), source="cross_entropy", examples=30) as observe:
        values = observe(0)
    functional.cross_entropy(model(batch.images[:30]), labels[:30]).backward()
    expected = [model[index].weight.grad.square().mean().item() for index in (1, 3, 5)]
    np.testing.assert_allclose(values["weight_gradient_variance"], expected, rtol=1e-5)


def test_a_non_linearity_in_place_does_not_change_the_gradients():
    batch = Examples(torch.randn(20, 3, 8, 8, generator=seeded(1)), torch.arange(20) % 10)
    models_ = [models.convnet3((3, 8, 8), 10, channels=[4, 5, 6]) for _ in range(2)]
    models_[1].load_state_dict(models_[0].state_dict())
    for layer in models_[1]:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    variances = []
    for model in models_:
        with diagnostics.gradients(model, batch, seeded(), source="cross_entropy") as observe:
            variances.append(observe(0)["gradient_variance"])
    np.testing.assert_array_equal(*variances)


class _Reversed(nn.Module):
    """A network that registers its layers in the reverse of the order in which it calls them."""

    def __init__(self):
        super().__init__()
        self.last, self.sigmoid, self.hidden, self.tanh, self.first = (
            nn.Linear(30, 3), nn.Sigmoid(), nn.Linear(20, 30), nn.Tanh(), nn.Linear(10, 20)
        )  # fmt: skip

    def forward(self, inputs):
        return self.last(self.sigmoid(self.hidden(self.tanh(self.first(inputs)))))


def test_statistics_are_those_of_layers_in_the_order_of_their_calls():
    model, inputs = _Reversed(), torch.randn(20, 10, generator=seeded(1))
    in_order = nn.Sequential(model.first, model.tanh, model.hidden, model.sigmoid, model.last)
    for observe in (_gradients, _activations):
        values, expected = observe(model, inputs), observe(in_order, inputs)
        for name in values:
            np.testing.assert_array_equal(values[name], expected[name])


def test_an_activation_may_be_called_twice_but_not_a_layer_with_a_weight():
    linear, tanh = nn.Linear(10, 10), nn.Tanh()
    inputs = torch.randn(20, 10, generator=seeded(1))
    values = _activations(nn.Sequential(linear, tanh, linear, tanh), inputs)
    outputs = [tanh(linear(inputs))]
    outputs.append(tanh(linear(outputs[0])))
    assert values["activation_sd"] == pytest.approx([output.std(correction=0).item() for output in outputs])
    with pytest.raises(ValueError, match="gradients: the model calls a layer twice"):
        _gradients(nn.Sequential(linear, tanh, linear), inputs)


def test_zero_weights_stop_all_gradients_before_the_last_layer():
    values = _gradients(_net("sigmoid", 0.0), torch.randn(20, 50, generator=seeded(1)))
    assert values["gradient_variance"][:2].tolist() == [0, 0]
    assert values["gradient_variance"][2] == pytest.approx(1 / 16, rel=0.1)


def _images(count=12):
    return Examples(torch.randn(count, 2, 6, 6, generator=seeded(3)), torch.arange(count) % 5)


def _outputs(model, batch, **options):
    with diagnostics.layer_outputs(model, batch, seeded(), **options) as observe:
        return observe(0)


@pytest.mark.parametrize("examples", [12, 5])
def test_layer_outputs_computed_by_hand_without_dropout(examples):
    model, batch = new_convnet_with_dropout(), _images()
    model[5] = nn.Identity()
    values = _outputs(model, batch, examples=examples)
    images, labels = batch.images[:examples], batch.labels[:examples]
    with torch.no_grad():
        first = model[1](images)
        second = model[4](first.relu())
        logits = model[8](second.tanh().flatten(1))
    expected = [output.numpy().astype(float).var() for output in (first, second, logits)]
    np.testing.assert_allclose(values["output_variance"], expected, rtol=1e-5)
    weights = [model[index].weight.detach().numpy().astype(float) for index in (1, 4, 8)]
    np.testing.assert_allclose(values["weight_sd"], [weight.std() for weight in weights], rtol=1e-5)
    likelihoods = np.exp(logits.numpy().astype(float))
    likelihoods = likelihoods[np.arange(examples), labels] / likelihoods.sum(1)
    assert values["batch_loss"] == pytest.approx(-np.log(likelihoods).mean(), rel=1e-5)
    assert _outputs(model.eval(), batch, examples=examples)["batch_loss"] == values["batch_loss"]


def test_layer_outputs_of_maxout_are_those_of_every_piece():
    model = models.fitnet_mnist((1, 28, 28), 10)
    initializers.lecun_normal(model, None, seeded())
    batch = Examples(torch.randn(8, 1, 28, 28, generator=seeded(1)), torch.arange(8))
    values = _outputs(model, batch)
    with torch.no_grad():
        pieces = [piece(batch.images) for piece in model[0].pieces]
        logits = model.eval()(batch.images)
    assert values["output_variance"].shape == values["weight_sd"].shape == (13,)
    expected = [float(output.var(correction=0)) for output in (*pieces, logits)]
    np.testing.assert_allclose(values["output_variance"][[0, 1, -1]], expected, rtol=1e-5)


def _googlenet(**options):
    model = models.googlenet((3, 64, 64), 10, width=0.125, **options)
    initializers.published(model, None, seeded())
    return model


def _googlenet_batch():
    return Examples(torch.randn(16, 3, 64, 64, generator=seeded(1)), torch.arange(16) % 10)


def test_layer_outputs_of_branches_are_in_the_order_of_the_forward_pass():
    model, batch = _googlenet(dropout=0.0), _googlenet_batch()
    with diagnostics.layer_outputs(model, batch, seeded()) as observe:
        observed = observe(0)
    layers, variances = [], []

    def record(layer, inputs, output):
        layers.append(layer)
        variances.append(float(output.var(correction=0)))

    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(record)
    with torch.no_grad():
        model(batch.images)
    np.testing.assert_allclose(observed["output_variance"], variances, rtol=1e-5)
    stds = [float(layer.weight.detach().std(correction=0)) for layer in layers]
    np.testing.assert_allclose(observed["weight_sd"], stds, rtol=1e-5)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model.eval()(batch.images), batch.labels)
    assert observed["batch_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_gradients_require_a_model_without_auxiliary_classifiers():
    with (
        pytest.raises(ValueError, match="build it without its auxiliary classifiers"),
        diagnostics.gradients(_googlenet(), _googlenet_batch(), seeded()),
    ):
        pass
    with diagnostics.gradients(_googlenet(auxiliary=False), _googlenet_batch(), seeded()) as observe:
        assert observe(0)["gradient_variance"].shape == (58,)
