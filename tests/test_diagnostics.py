"""Diagnostics against what can be computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from goodinit.datasets.tensors import Examples
from goodinit.methods import diagnostics, initializers, models, objectives, optimizers, updates


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _batch(inputs):
    return Examples(inputs, torch.zeros(len(inputs), dtype=torch.int64))


def _net(activation, std, layers=3, units=50):
    net = models.mlp((units,), 0, hidden=[units] * layers, activation=activation, bias=False)
    initializers.gaussian(net, None, _generator(), std=std)
    return net


def _activations(net, inputs, **options):
    with diagnostics.activations(net, _batch(inputs), _generator(), **options) as observe:
        return observe(0)


def _gradients(net, inputs):
    with diagnostics.gradients(net, _batch(inputs), _generator()) as observe:
        return observe(0)


def test_statistics_are_those_of_a_slow_transcription():
    inputs = torch.randn(200, 50, generator=_generator(1))
    net = _net("tanh", 0.3)
    found = _activations(net, inputs, bins=10)
    outputs = inputs
    for layer in range(3):
        outputs = np.tanh(outputs.numpy() @ net[1 + 2 * layer].weight.detach().numpy().T)
        assert np.isclose(found["activation_mean"][layer], outputs.mean(), atol=1e-5)
        assert np.isclose(found["activation_sd"][layer], outputs.std(), atol=1e-5)
        assert np.isclose(found["activation_sd_over_inputs"][layer], outputs.std(0).mean(), atol=1e-5)
        assert np.isclose(found["share_low"][layer], (outputs < -0.98).mean(), atol=1e-3)
        assert np.isclose(found["share_saturated"][layer], (abs(outputs) > 0.98).mean(), atol=1e-3)
        assert abs(found["activation_count"][layer] - np.histogram(outputs, 10, (-1, 1))[0]).max() <= 2
        outputs = torch.from_numpy(outputs)
    assert np.allclose(found["activation_edge"], np.linspace(-1, 1, 11)[:-1])


def test_the_spread_over_inputs_is_not_that_between_units():
    """Units that each give one constant output say nothing about the inputs, however different they are."""
    net = nn.Sequential(nn.Linear(1, 2), nn.Sigmoid())
    net[0].weight.data.zero_()
    net[0].bias.data = torch.tensor([-20.0, 20.0])
    found = _activations(net, torch.tensor([[1.0], [2.0], [3.0]]), bins=4)
    assert found["activation_sd"].tolist() == pytest.approx([0.5])
    assert found["activation_sd_over_inputs"].tolist() == [0]
    assert found["activation_entropy"].tolist() == pytest.approx([0.5])  # two of four bins alike: log 2 / log 4


def test_a_few_large_gradients_decide_the_mean_square_and_not_the_median():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Sigmoid(), nn.Linear(4, 4, bias=False))
    net[0].weight.data = torch.diag(torch.tensor([40.0, 40.0, 40.0, 0.0]))  # three units are saturated
    net[2].weight.data = 100 * torch.eye(4)
    found = _gradients(net, torch.ones(1, 4))
    cotangent = torch.randn(1, 4, generator=_generator())[0, 3].item()
    assert found["gradient_variance"][0] == pytest.approx((25 * cotangent) ** 2 / 4, rel=1e-4)
    assert found["gradient_median"][0] < 1e-6
    assert found["share_vanished"].tolist() == [0.75, 0]


def test_dead_units_zeros_and_the_range_of_rectifiers():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU())
    net[0].weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    found = _activations(net, torch.tensor([[1.0, -1.0], [2.0, 4.0]]), bins=4)
    assert found["share_dead"].tolist() == pytest.approx([1 / 3])
    assert found["share_zero"].tolist() == pytest.approx([0.5])
    assert found["activation_count"].tolist() == [[3, 1, 1, 1]]
    assert found["activation_edge"].tolist() == [[0, 1, 2, 3]]
    assert np.isnan(found["share_saturated"]).all()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_every_output_is_in_the_histogram(activation):
    found = _activations(_net(activation, 1.0), torch.randn(100, 50, generator=_generator(1)))
    assert (found["activation_count"].sum(1) == 100 * 50).all()
    assert {name: value.shape[1:] for name, value in found.items()} == {
        name: (30,) * (len(diagnostics.DIMENSIONS[name]) - 1) for name in found
    }


def test_gradients_are_those_of_backpropagation_by_hand():
    inputs = torch.randn(300, 50, generator=_generator(1))
    net = _net("tanh", 0.2)
    found = _gradients(net, inputs)
    cotangent = torch.randn(300, 50, generator=_generator()).numpy()
    weights = [net[place].weight.detach().numpy() for place in (1, 3, 5)]
    outputs = [inputs.numpy()]
    for weight in weights:
        outputs.append(np.tanh(outputs[-1] @ weight.T))
    gradient = cotangent
    for layer in (2, 1, 0):
        delta = gradient * (1 - outputs[layer + 1] ** 2)
        assert np.isclose(found["gradient_variance"][layer], (delta**2).mean(), rtol=1e-4)
        assert np.isclose(found["weight_gradient_variance"][layer], ((delta.T @ outputs[layer]) ** 2).mean(), rtol=1e-4)
        gradient = delta @ weights[layer]


def test_gradients_of_the_loss_are_those_of_the_parameters():
    net, labels = _net("tanh", 0.2), torch.arange(40) % 50
    batch = Examples(torch.randn(40, 50, generator=_generator(1)), labels)
    with diagnostics.gradients(net, batch, _generator(), source="cross_entropy", examples=30) as observe:
        found = observe(0)
    functional.cross_entropy(net(batch.images[:30]), labels[:30]).backward()
    expected = [net[place].weight.grad.square().mean().item() for place in (1, 3, 5)]
    np.testing.assert_allclose(found["weight_gradient_variance"], expected, rtol=1e-5)


def test_gradients_are_those_before_a_non_linearity_that_works_in_place():
    batch = Examples(torch.randn(20, 3, 8, 8, generator=_generator(1)), torch.arange(20) % 10)
    nets = [models.convnet3((3, 8, 8), 10, channels=[4, 5, 6]) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    for layer in nets[1]:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    found = []
    for net in nets:
        with diagnostics.gradients(net, batch, _generator(), source="cross_entropy") as observe:
            found.append(observe(0)["gradient_variance"])
    np.testing.assert_array_equal(*found)


def test_a_look_at_neurons_that_take_turns_sees_all_of_them():
    net = _net("tanh", 0.2, units=49)
    batch = Examples(torch.randn(40, 49, generator=_generator(1)), torch.arange(40))
    with diagnostics.gradients(net, batch, _generator()) as observe:
        expected = observe(0)["weight_gradient_variance"]
    optimizer = optimizers.momentum(net.named_parameters(), lr=0.1)
    updates.semi_synchronous(net, optimizer, _generator(), members="shuffled")
    with diagnostics.gradients(net, batch, _generator()) as observe:
        np.testing.assert_allclose(observe(0)["weight_gradient_variance"], expected, rtol=1e-5)
    assert net[1].groups.shape == (7, 7)
    with diagnostics.gradient_check(net, batch, _generator(), coordinates=3) as observe:
        assert observe(0)["gradient_error"].max() < 1e-6


def test_zero_weights_stop_every_gradient_but_the_last_layer_s():
    found = _gradients(_net("sigmoid", 0.0), torch.randn(20, 50, generator=_generator(1)))
    assert found["gradient_variance"][:2].tolist() == [0, 0]
    assert found["gradient_variance"][2] == pytest.approx(1 / 16, rel=0.1)


def test_they_leave_the_model_and_the_random_numbers_alone():
    net, inputs = _net("relu", 0.1), torch.randn(20, 50)
    before, state = [parameter.clone() for parameter in net.parameters()], torch.get_rng_state()
    _activations(net, inputs)
    _gradients(net, inputs)
    with diagnostics.path(net, None, _generator()) as observe:
        observe(0)
    assert all(map(torch.equal, before, net.parameters()))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module._forward_hooks for module in net.modules())


def _classifier(dtype=torch.float64, **options):
    net = models.mlp((6,), 3, **{"hidden": [5, 4], "batch_norm": True} | options)
    initializers.he_normal(net, None, _generator())
    return net.to(dtype)


def _labelled(count):
    images = torch.randn(count, 6, generator=_generator(2), dtype=torch.float64)
    return Examples(images, torch.arange(count) % 3)


def _check(net, batch, **options):
    with diagnostics.gradient_check(net, batch, _generator(), **options) as observe:
        return observe(0)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_back_propagated_gradients_are_those_of_differences(activation):
    net, batch = _classifier(activation=activation), _labelled(20)
    found = _check(net, batch)
    loss, _ = objectives.cross_entropy(net, batch)
    expected = [gradient.abs().mean().item() for gradient in torch.autograd.grad(loss, list(net.parameters()))]
    np.testing.assert_allclose(found["gradient_size"], expected, rtol=1e-9, atol=1e-15)
    assert found["gradient_error"].shape == (10,)  # two layers of weight, bias, gain and shift, one of two
    assert found["gradient_error"].max() < 1e-7
    assert found["gradient_size"][[0, 2, 3, 4, 6, 7, 8, 9]].min() > 1e-3  # normalizing takes the biases away


def test_one_input_has_half_the_one_sided_slope_at_the_kink():
    net, batch = _classifier(), _labelled(1)
    found = _check(net, batch)
    # With outputs of 0 all classes are as likely; a shift that is more than 0 moves them by the last weights.
    slope = net[-1].weight.detach().numpy().T @ (np.full(3, 1 / 3) - [1, 0, 0])
    assert found["gradient_error"][7] == pytest.approx(abs(slope).mean() / 2, rel=1e-3)
    assert found["gradient_size"][7] == 0
    assert np.delete(found["gradient_error"], 7).max() < 1e-8


def test_a_wrong_gradient_is_found():
    class Doubled(nn.Module):
        """The same outputs, twice the gradients."""

        def forward(self, inputs):
            return 2 * inputs - inputs.detach()

    found = _check(nn.Sequential(_classifier(activation="tanh", batch_norm=False), Doubled()), _labelled(20))
    np.testing.assert_allclose(found["gradient_error"], found["gradient_size"] / 2, rtol=1e-5)


def test_a_check_looks_at_some_coordinates_always_the_same():
    net, batch = _classifier(), _labelled(20)
    some, all_of_them = _check(net, batch, coordinates=3), _check(net, batch)
    assert (some["gradient_size"][[0, 4]] != all_of_them["gradient_size"][[0, 4]]).all()  # 30 and 20 numbers
    assert some["gradient_size"][-1] == all_of_them["gradient_size"][-1]  # 3 numbers
    again = _check(net, batch, coordinates=3)
    assert all((some[name] == again[name]).all() for name in some)


@pytest.mark.parametrize("training", [False, True])
def test_a_check_leaves_everything_as_it_was(training):
    net = _classifier(torch.float32).train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    _check(net, Examples(_labelled(20).images.float(), _labelled(20).labels))
    after = net.state_dict()
    assert all(torch.equal(value, after[name]) and value.dtype == after[name].dtype for name, value in before.items())
    assert net.training == training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("options", [{"step_size": 0.0}, {"step_size": -1e-4}, {"coordinates": 0}])
def test_a_check_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match="gradient_check: step_size must be more than 0 and coordinates at least 1"):
        _check(_classifier(), _labelled(2), **options)


def test_path_by_hand():
    model = models.quadratic((0,), 0, start=[0.0, 0.0])
    found = []
    with diagnostics.path(model, None, _generator()) as observe:
        for place in ([0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [3.0, 16.0]):
            with torch.no_grad():
                model.position.copy_(torch.tensor(place))
            found.append(observe(0))
    assert [one["position"].tolist() for one in found] == [[0, 0], [3, 4], [3, 4], [3, 16]]
    assert [one["path_length"] for one in found] == [0, 5, 5, 17]


def _convolutional():
    """Return a net with everything that training mode changes."""
    net = nn.Sequential(
        nn.Dropout(0.2), nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3),
        nn.Tanh(), nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip
    initializers.he_normal(net, None, _generator())
    return net


def _pictures(count=12):
    return Examples(torch.randn(count, 2, 6, 6, generator=_generator(3)), torch.arange(count) % 5)


def _outputs(net, batch, **options):
    with diagnostics.layer_outputs(net, batch, _generator(), **options) as observe:
        return observe(0)


@pytest.mark.parametrize("examples", [12, 5])
def test_layer_outputs_by_hand_with_dropout_off(examples):
    net, batch = _convolutional(), _pictures()
    net[5] = nn.Identity()
    found = _outputs(net, batch, examples=examples)
    images, labels = batch.images[:examples], batch.labels[:examples]
    with torch.no_grad():
        first = net[1](images)
        second = net[4](first.relu())
        logits = net[8](second.tanh().flatten(1))
    expected = [output.numpy().astype(float).var() for output in (first, second, logits)]
    np.testing.assert_allclose(found["output_variance"], expected, rtol=1e-5)
    weights = [net[place].weight.detach().numpy().astype(float) for place in (1, 4, 8)]
    np.testing.assert_allclose(found["weight_sd"], [weight.std() for weight in weights], rtol=1e-5)
    chances = np.exp(logits.numpy().astype(float))
    chances = chances[np.arange(examples), labels] / chances.sum(1)
    assert found["batch_loss"] == pytest.approx(-np.log(chances).mean(), rel=1e-5)
    assert _outputs(net.eval(), batch, examples=examples)["batch_loss"] == found["batch_loss"]


def test_layer_outputs_of_a_maxout_net_are_those_of_every_piece():
    net = models.fitnet_mnist((1, 28, 28), 10)
    initializers.lecun_normal(net, None, _generator())
    batch = Examples(torch.randn(8, 1, 28, 28, generator=_generator(1)), torch.arange(8))
    found = _outputs(net, batch)
    with torch.no_grad():
        pieces = [piece(batch.images) for piece in net[0].pieces]
        logits = net.eval()(batch.images)
    assert found["output_variance"].shape == found["weight_sd"].shape == (13,)
    expected = [float(output.var(correction=0)) for output in (*pieces, logits)]
    np.testing.assert_allclose(found["output_variance"][[0, 1, -1]], expected, rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["layer_outputs", "update_size"])
def test_looking_at_a_net_leaves_everything_as_it_was(name, training):
    net = _convolutional().train(training)
    net[3].eval()  # a mode of its own
    before, modes = {key: value.clone() for key, value in net.state_dict().items()}, [one.training for one in net]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with getattr(diagnostics, name)(net, _pictures(), _generator()) as observe:
        observe(0)
        observe(1)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [one.training for one in net] == modes
    assert net.training == training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(state, torch.get_rng_state())


def test_update_size_by_hand():
    net = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1), nn.Linear(1, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[3.0, 4.0]]))
        net[2].weight.copy_(torch.tensor([[6.0], [8.0]]))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    net[2].weight.grad.copy_(torch.tensor([[2.0], [0.0]]))
    found = []
    with diagnostics.update_size(net, None, _generator()) as observe:
        found.append(observe(0)["update_size"])
        optimizer.step()
        found.append(observe(1)["update_size"])
        with torch.no_grad():
            net[0].bias.add_(7)
            net[1].weight.add_(7)
        found.append(observe(2)["update_size"])
        optimizer.step()
        optimizer.step()
        found.append(observe(3)["update_size"])
    assert np.isnan(found[0]).all()
    first = 0.5 * 2**0.5 / 5, 1 / 10  # moved by (0.5, 0.5) from (3, 4), and by (1, 0) from (6, 8)
    second = 2**0.5 / (2.5**2 + 3.5**2) ** 0.5, 2 / (5**2 + 8**2) ** 0.5  # twice as far, and from there
    np.testing.assert_allclose(found[1:], [first, (0, 0), second], rtol=1e-6)


def test_gradient_check_refuses_dropout():
    net = models.mlp((6,), 3, hidden=[5], dropout=0.5)
    with (
        pytest.raises(ValueError, match="has dropout"),
        diagnostics.gradient_check(net, _batch(torch.zeros(2, 6)), _generator()),
    ):
        pass
