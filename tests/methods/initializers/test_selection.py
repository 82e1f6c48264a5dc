"""Which layers LSUV scales: computed, shared, frozen and scripted weights, and wrapped models."""

import pytest
import torch
from output_variances import output_variances
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from goodinit import lsuv
from goodinit.methods.initializers.preserve import preserve_random_state


# Computed weights.
def _model(wrap):
    with preserve_random_state(set(), 0):
        return nn.Sequential(wrap(nn.Linear(12, 20)), nn.ReLU(), wrap(nn.Linear(20, 6)))


def _old_weight_norm(layer):
    with pytest.warns(FutureWarning, match="deprecated"):
        return nn.utils.weight_norm(layer)


def _total_weight_norm(layer):
    return parametrizations.weight_norm(layer, dim=None)


class _Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight

    def right_inverse(self, weight):
        return weight / 2


def _doubled(layer):
    nn.utils.parametrize.register_parametrization(layer, "weight", _Doubled())
    return layer


def _standardized(layer):
    """Normalize the weight in the forward pass, so that its scale has no effect."""
    layer.forward = lambda x: functional.linear(x, layer.weight / layer.weight.std() / 10)
    return layer


SETTABLE = [_old_weight_norm, parametrizations.weight_norm, _total_weight_norm, _doubled]
COMPUTED = {
    "SpectralNorm": parametrizations.spectral_norm,
    "Orthogonal": parametrizations.orthogonal,
    "L1Unstructured": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "RandomUnstructured": lambda layer: prune.random_unstructured(layer, "weight", 3),
    "SpectralNorm ": nn.utils.spectral_norm,
}


@pytest.mark.parametrize("wrap", SETTABLE)
def test_computed_weights_are_set_if_possible(wrap):
    plain, computed, data = _model(lambda layer: layer), _model(wrap), torch.randn(256, 12)
    reports = [lsuv(model, data, seed=0) for model in (plain, computed)]
    assert [row.std_before for row in reports[0].rows] == pytest.approx([row.std_before for row in reports[1].rows])
    assert len(reports[1].scaled) == 2
    torch.testing.assert_close(plain(data), computed(data))
    assert all(abs(variance - 1) < 0.05 for variance in output_variances(computed, data).values())
    computed(data).sum().backward()
    assert all(parameter.grad is not None for parameter in computed.parameters())


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_that_cannot_be_set_do_not_change(name):
    model, data = _model(COMPUTED[name]), torch.randn(256, 12)
    model.append(nn.Linear(6, 4))
    before = {name: value.clone() for name, value in model[:3].state_dict().items()}
    report = lsuv(model, data, seed=0)
    assert [row.name for row in report.scaled] == ["3"]
    for row in report.rows[1:]:
        assert f"computed by {name.strip()} and cannot be set" in row.note
    for key, value in before.items():
        assert torch.equal(model[:3].state_dict()[key], value), key


@pytest.mark.parametrize("name", COMPUTED)
def test_a_model_with_only_such_weights_is_rejected(name):
    model = _model(COMPUTED[name])
    with pytest.raises(
        ValueError, match=f"no linear or convolutional layer to initialize: 0: .*{name.strip()}"
    ) as error:
        lsuv(model, torch.randn(256, 12))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_weight_whose_scale_has_no_effect_is_not_scaled():
    model, data = _model(_standardized), torch.randn(256, 12)
    model.append(nn.Linear(6, 4))
    rows = {row.name: row for row in lsuv(model, data, seed=0).rows}
    assert rows["3"].scaled
    for name in ("0", "2"):
        assert rows[name].note.startswith("initialized but not scaled: no scale")
    torch.testing.assert_close(model[0].weight.mT @ model[0].weight, torch.eye(12), atol=1e-5, rtol=0)


# Shared weights.
def test_a_shared_weight_is_scaled_once():
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    model[2].weight = model[0].weight
    data = torch.randn(512, 16)
    report = lsuv(model, data, seed=0)
    notes = {row.name: row.note for row in report.rows}
    assert [row.name for row in report.scaled] == ["0", "4"]
    assert notes["2"] == "shares its weight with 0"
    variances = output_variances(model, data)
    assert variances["0"] == pytest.approx(1, abs=0.05)
    assert variances["4"] == pytest.approx(1, abs=0.05)


def test_a_weight_shared_as_its_transpose_is_scaled_once():
    """The weight of the decoder of an auto-encoder is a view of that of the encoder."""
    encoder, decoder = nn.Linear(32, 16), nn.Linear(16, 32)
    decoder.weight = nn.Parameter(encoder.weight.data.T)
    model = nn.Sequential(encoder, nn.Tanh(), decoder)
    data = torch.randn(512, 32)
    report = lsuv(model, data, seed=0)
    assert [row.name for row in report.scaled] == ["0"]
    assert report.rows[1].note == "shares its weight with 0"
    assert output_variances(model, data)["0"] == pytest.approx(1, abs=0.05)


def test_a_shared_weight_is_scaled_for_the_layer_that_is_called_first():
    """This layer is the second in `model.modules()`."""

    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.late, self.early = nn.Linear(16, 16), nn.Linear(16, 16)
            self.late.weight = self.early.weight

        def forward(self, x):
            return self.late(3 * torch.relu(self.early(x)))

    model, data = Reversed(), torch.randn(512, 16)
    report = lsuv(model, data, seed=0)
    assert [row.name for row in report.rows] == ["early", "late"]
    assert output_variances(model, data)["early"] == pytest.approx(1, abs=0.05)


def test_a_weight_shared_with_an_embedding_is_not_initialized():
    """Scaling it would change the inputs of the layers that are already scaled."""

    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.hidden, self.out = nn.Embedding(30, 16), nn.Linear(16, 16), nn.Linear(16, 30)
            self.out.weight = self.embed.weight

        def forward(self, tokens):
            return self.out(torch.relu(self.hidden(self.embed(tokens))))

    model, data = Language(), torch.arange(300).view(30, 10) % 30
    before = model.out.weight.clone()
    report = lsuv(model, data, seed=0)
    notes = {row.name: row.note for row in report.rows}
    assert notes["out"] == "not initialized: shares its weight with embed (Embedding)"
    assert torch.equal(model.out.weight, before)
    assert output_variances(model, data)["hidden"] == pytest.approx(1, abs=0.05)


def test_a_recurrent_layer_is_scaled_at_the_first_call_with_a_varying_output():
    class Recurrence(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x):
            state = torch.zeros(len(x), 8)
            for step in range(x.shape[1]):
                state = torch.tanh(self.inputs(x[:, step]) + self.hidden(state))
            return self.out(state)

    model, data = Recurrence(), torch.randn(256, 3, 4, generator=torch.Generator().manual_seed(0))
    notes = {row.name: row.note for row in lsuv(model, data, seed=0).rows}
    assert notes == {
        "inputs": "called 3 times, scaled at the first",
        "hidden": "scaled at call 2, because earlier outputs are constant; called 3 times",
        "out": "",
    }
    with torch.no_grad():
        state = torch.tanh(model.inputs(data[:, 0]))
        assert float(model.hidden(state).var(correction=0)) == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match="layer hidden: the variance of its output is 0"):
        lsuv(Recurrence(), data[:, :1])


# Frozen, scripted and wrapped layers.
def test_frozen_layers_do_not_change_unless_included():
    model, data = _model(lambda layer: layer), torch.randn(256, 12)
    model[0].requires_grad_(False)
    before = [parameter.clone() for parameter in model[0].parameters()]
    report = lsuv(model, data, seed=0)
    assert report.rows[-1].note.startswith("frozen")
    assert all(map(torch.equal, before, model[0].parameters()))
    assert [row.name for row in report.scaled] == ["2"]
    report = lsuv(model, data, seed=0, include_frozen=True)
    assert [row.name for row in report.scaled] == ["0", "2"]
    assert not model[0].weight.requires_grad
    with pytest.raises(ValueError, match="include_frozen=True"):
        lsuv(model.requires_grad_(False), data)


def test_a_frozen_bias_does_not_change():
    model, data = _model(lambda layer: layer), torch.randn(256, 12)
    before = model[0].bias.requires_grad_(False).clone()
    assert before.any()
    report = lsuv(model, data, seed=0)
    assert torch.equal(model[0].bias, before)
    assert not model[2].bias.any()
    assert output_variances(model, data)["0"] == pytest.approx(report.rows[0].std_after ** 2, abs=1e-3)
    assert output_variances(model, data)["0"] == pytest.approx(1, abs=0.05)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_scripted_models_are_rejected_and_scripted_submodules_have_a_note():
    with pytest.raises(ValueError, match=r"before torch\.jit\.script"):
        lsuv(torch.jit.script(_model(lambda layer: layer)), torch.randn(64, 12))
    scripted = torch.jit.script(nn.Sequential(nn.Linear(12, 8)))
    report = lsuv(nn.Sequential(scripted, nn.Linear(8, 4)), torch.randn(64, 12), seed=0)
    assert [(row.name, row.scaled) for row in report.rows] == [("1", True), ("0", False)]
    assert report.rows[1].note.endswith("its layers are scripted")


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_a_wrapped_model_is_initialized(wrap):
    plain, wrapped, data = _model(lambda layer: layer), wrap(_model(lambda layer: layer)), torch.randn(64, 12)
    reports = [lsuv(model, data, seed=0) for model in (plain, wrapped)]
    assert [row.name for row in reports[0].rows] == [row.name for row in reports[1].rows]
    torch.testing.assert_close(plain(data), wrapped(data))


def test_a_compiled_model_is_initialized_and_remains_compiled():
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    model, data = _model(lambda layer: layer), torch.randn(64, 12)
    model.compile(backend=backend)
    model(data)
    assert len(calls) == 1
    report = lsuv(model, data, seed=0)
    assert len(report.scaled) == 2
    assert len(calls) == 1
    assert float(model(data).detach().var(correction=0)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: nn.Linear(4, 2, device="meta"), "on the meta device"),
        (lambda: nn.Sequential(nn.LazyLinear(2)), "is not known yet"),
        (lambda: nn.Sequential(nn.ReLU()), "no linear or convolutional layer"),
        (lambda: nn.LSTM(4, 4), "LSTM is not a linear"),
        (lambda: type("DistributedDataParallel", (nn.Linear,), {})(4, 2), "before wrapping it in"),
        (lambda: nn.Sequential(type("FullyShardedDataParallel", (nn.Linear,), {})(4, 2)), "before wrapping it in"),
        (lambda: nn.Linear(4, 2, dtype=torch.complex64), "complex64"),
        (torch.inference_mode()(lambda: nn.Linear(4, 2)), "weight was created in torch.inference_mode"),
        (lambda: "model", "must be a torch.nn.Module, not str"),
    ],
)
def test_models_that_cannot_be_initialized_are_rejected_in_one_line(build, reason):
    with pytest.raises(ValueError, match=reason) as error:
        lsuv(build(), torch.randn(8, 4))
    assert "\n" not in str(error.value)
