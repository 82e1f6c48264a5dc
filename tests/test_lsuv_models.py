"""LSUV on models as people build them: every scaled layer has unit variance, every other a reason."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from goodinit import lsuv
from goodinit.methods.initializers.preserve import preserve_random_state

LAYERS = nn.Linear | nn.modules.conv._ConvNd


class UNet(nn.Module):
    """Up-sampling is called with a keyword, on a size that its stride does not divide."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, padding=1)
        self.pooled = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1)
        self.out = nn.Conv2d(32, 2, 1)

    def forward(self, x):
        down = functional.relu(self.down(x))
        low = functional.relu(self.pooled(down))
        up = functional.relu(self.up(low, output_size=down.shape[-2:]))
        return self.out(input=torch.cat([down, up], 1))


class Encoder(nn.Module):
    """A transformer encoder with a classifier, as for text."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 5)

    def forward(self, tokens, src_key_padding_mask=None):
        return self.head(self.encoder(self.embed(tokens), src_key_padding_mask=src_key_padding_mask).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x, state=None):
        outputs, state = self.lstm(x, state)
        return self.head(outputs[:, -1]), state


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ELU())
        self.mean, self.log_variance = nn.Linear(128, 16), nn.Linear(128, 16)
        self.decoder = nn.Sequential(nn.Linear(16, 128), nn.ELU(), nn.Linear(128, 64))

    def forward(self, x):
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return {"reconstruction": self.decoder(latent).view_as(x), "mean": mean, "log_variance": log_variance}


def _images(size, count=8):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def _vit():
    return torchvision.models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=64, mlp_dim=128)


MODELS = {  # how it is built, its data, how many layers are scaled, and which rows are not
    "resnet18": (torchvision.models.resnet18, lambda: _images(48), 21, 0),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(dropout=0.0), lambda: _images(64), 53, 0),
    "densenet121": (torchvision.models.densenet121, lambda: _images(32), 121, 0),
    "vit": (_vit, lambda: _images(32), 6, 6),
    "U-Net": (UNet, lambda: _images(21), 4, 0),
    "transformer encoder": (Encoder, lambda: torch.arange(400).view(40, 10) % 50, 5, 5),
    "LSTM": (Recurrent, lambda: torch.randn(64, 12, 8, generator=torch.Generator().manual_seed(2)), 1, 2),
    "VAE": (VAE, lambda: torch.randn(512, 1, 8, 8, generator=torch.Generator().manual_seed(3)), 5, 0),
}


def _variances(model, data):
    """Return {layer's name: the variance of its output on its first call, in the model's mode}."""
    found = {}
    names = {layer: name for name, layer in model.named_modules() if isinstance(layer, LAYERS)}

    def look(layer, inputs, output):
        found.setdefault(names[layer], float(output.var(correction=0)))

    handles = [layer.register_forward_hook(look) for layer in names]
    with torch.no_grad(), preserve_random_state(set(), 0):
        model(data)
    for handle in handles:
        handle.remove()
    return found


def _build(name):
    build, data, scaled, others = MODELS[name]
    with preserve_random_state(set(), 0):
        return build(), data(), scaled, others


@pytest.mark.parametrize("name", MODELS)
def test_every_scaled_layer_has_unit_variance_and_every_other_a_reason(name):
    model, data, scaled, others = _build(name)
    report = lsuv(model, data, seed=0)
    assert (len(report.scaled), len(report.rows) - len(report.scaled)) == (scaled, others)
    assert all(row.note for row in report.rows if not row.scaled)
    found = _variances(model, data)
    assert list(found) == [row.name for row in report.scaled]  # in the order of the forward pass
    margin = 0.15 if name == "VAE" else 1e-3  # its latent variables are drawn anew
    for row in report.scaled:
        assert abs(row.std_after**2 - 1) <= 0.05
        assert abs(found[row.name] - row.std_after**2) < margin, row
        assert row.rescalings <= 2


@pytest.mark.parametrize("name", MODELS)
def test_evaluation_mode_does_it_as_well(name):
    """There torch's transformer layers have a fast path that does not call their submodules."""
    model, data, scaled, _ = _build(name)
    report = lsuv(model.eval(), data, seed=0, dropout=False)
    assert len(report.scaled) == scaled
    found = _variances(model, data) if name not in ("vit", "transformer encoder") else {}
    for row in report.scaled:
        assert abs(found.get(row.name, 1) - 1) <= (0.15 if name == "VAE" else 0.051)
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_reasons_name_what_is_not_scaled():
    model, data, *_ = _build("transformer encoder")
    notes = {row.name: row.note for row in lsuv(model, data, seed=0).rows}
    assert notes["encoder.layers.0.self_attn.out_proj"].startswith("initialized but not scaled: not called")
    assert "MultiheadAttention is not a linear" in notes["encoder.layers.1.self_attn.in_proj_weight"]
    assert "Embedding is not a linear" in notes["embed.weight"]
    assert notes["head"] == ""


def test_parameters_of_other_modules_stay_as_they_are():
    model, data, *_ = _build("transformer encoder")
    kept = {name: value.clone() for name, value in model.named_parameters() if "in_proj" in name or "embed" in name}
    lsuv(model, data, seed=0)
    for name, value in kept.items():
        assert torch.equal(model.get_parameter(name), value)


def test_an_unused_head_is_said_to_be_unused():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    model.head = nn.Linear(8, 2)
    model.forward = lambda x: model[1](model[0](x))
    rows = lsuv(model, torch.randn(64, 8), seed=0).rows
    assert [row.name for row in rows if row.scaled] == ["0"]
    assert rows[-1].note.startswith("initialized but not scaled: not called")


# Weights that are computed.
def _net(wrap):
    with preserve_random_state(set(), 0):
        return nn.Sequential(wrap(nn.Linear(12, 20)), nn.ReLU(), wrap(nn.Linear(20, 6)))


def _old_weight_norm(layer):
    with pytest.warns(FutureWarning, match="deprecated"):
        return nn.utils.weight_norm(layer)


def _whole_weight_norm(layer):
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
    """A weight without a scale of its own."""
    layer.forward = lambda x: functional.linear(x, layer.weight / layer.weight.std() / 10)
    return layer


SETTABLE = [_old_weight_norm, parametrizations.weight_norm, _whole_weight_norm, _doubled]
COMPUTED = {
    "SpectralNorm": parametrizations.spectral_norm,
    "Orthogonal": parametrizations.orthogonal,
    "L1Unstructured": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "RandomUnstructured": lambda layer: prune.random_unstructured(layer, "weight", 3),
    "SpectralNorm ": nn.utils.spectral_norm,
}


@pytest.mark.parametrize("wrap", SETTABLE)
def test_weights_that_are_computed_are_set_if_they_can_be(wrap):
    plain, computed, data = _net(lambda layer: layer), _net(wrap), torch.randn(256, 12)
    reports = [lsuv(model, data, seed=0) for model in (plain, computed)]
    assert [row.std_before for row in reports[0].rows] == pytest.approx([row.std_before for row in reports[1].rows])
    assert len(reports[1].scaled) == 2
    torch.testing.assert_close(plain(data), computed(data))
    assert all(abs(variance - 1) < 0.05 for variance in _variances(computed, data).values())
    computed(data).sum().backward()
    assert all(parameter.grad is not None for parameter in computed.parameters())


@pytest.mark.parametrize("name", COMPUTED)
def test_weights_that_cannot_be_set_are_named_and_kept(name):
    model, data = _net(COMPUTED[name]), torch.randn(256, 12)
    model.append(nn.Linear(6, 4))
    kept = {name: value.clone() for name, value in model[:3].state_dict().items()}
    report = lsuv(model, data, seed=0)
    assert [row.name for row in report.scaled] == ["3"]
    for row in report.rows[1:]:
        assert f"computed by {name.strip()} and cannot be set" in row.note
    for key, value in kept.items():
        assert torch.equal(model[:3].state_dict()[key], value), key


@pytest.mark.parametrize("name", COMPUTED)
def test_a_model_of_such_weights_alone_is_refused_in_one_line(name):
    model = _net(COMPUTED[name])
    with pytest.raises(
        ValueError, match=f"no linear or convolutional layer to initialize: 0: .*{name.strip()}"
    ) as error:
        lsuv(model, torch.randn(256, 12))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_weight_whose_scale_has_no_effect_is_not_said_to_be_scaled():
    model, data = _net(_standardized), torch.randn(256, 12)
    model.append(nn.Linear(6, 4))
    rows = {row.name: row for row in lsuv(model, data, seed=0).rows}
    assert rows["3"].scaled
    for name in ("0", "2"):
        assert rows[name].note.startswith("initialized but not scaled: no scale")
    torch.testing.assert_close(model[0].weight.mT @ model[0].weight, torch.eye(12), atol=1e-5, rtol=0)


# Tied weights.
def test_tied_weights_are_scaled_once():
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    model[2].weight = model[0].weight
    data = torch.randn(512, 16)
    report = lsuv(model, data, seed=0)
    notes = {row.name: row.note for row in report.rows}
    assert [row.name for row in report.scaled] == ["0", "4"]
    assert notes["2"] == "shares its weight with 0"
    found = _variances(model, data)
    assert found["0"] == pytest.approx(1, abs=0.05)
    assert found["4"] == pytest.approx(1, abs=0.05)


def test_a_weight_tied_as_the_transpose_is_one_weight():
    """An autoencoder's decoder, as a view of the encoder's data."""
    encoder, decoder = nn.Linear(32, 16), nn.Linear(16, 32)
    decoder.weight = nn.Parameter(encoder.weight.data.T)
    model = nn.Sequential(encoder, nn.Tanh(), decoder)
    data = torch.randn(512, 32)
    report = lsuv(model, data, seed=0)
    assert [row.name for row in report.scaled] == ["0"]
    assert report.rows[1].note == "shares its weight with 0"
    assert _variances(model, data)["0"] == pytest.approx(1, abs=0.05)


def test_the_first_that_is_reached_scales_a_shared_weight():
    """Its layer comes second in the model's list; scaling at the first of the list would undo its unit variance."""

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.late, self.early = nn.Linear(16, 16), nn.Linear(16, 16)
            self.late.weight = self.early.weight

        def forward(self, x):
            return self.late(3 * torch.relu(self.early(x)))

    model, data = Backwards(), torch.randn(512, 16)
    report = lsuv(model, data, seed=0)
    assert [row.name for row in report.rows] == ["early", "late"]
    assert _variances(model, data)["early"] == pytest.approx(1, abs=0.05)


def test_a_weight_shared_with_an_embedding_is_left_alone():
    """Scaling it in the end would change what all other layers were scaled for."""

    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.hidden, self.out = nn.Embedding(30, 16), nn.Linear(16, 16), nn.Linear(16, 30)
            self.out.weight = self.embed.weight

        def forward(self, tokens):
            return self.out(torch.relu(self.hidden(self.embed(tokens))))

    model, data = Language(), torch.arange(300).view(30, 10) % 30
    kept = model.out.weight.clone()
    report = lsuv(model, data, seed=0)
    notes = {row.name: row.note for row in report.rows}
    assert notes["out"] == "not initialized: shares its weight with embed (Embedding)"
    assert torch.equal(model.out.weight, kept)
    assert _variances(model, data)["hidden"] == pytest.approx(1, abs=0.05)


def test_a_recurrent_layer_is_scaled_for_its_first_state_that_is_not_constant():
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


# Frozen, scripted, wrapped, without values.
def test_frozen_layers_are_kept_unless_asked():
    model, data = _net(lambda layer: layer), torch.randn(256, 12)
    model[0].requires_grad_(False)
    kept = [parameter.clone() for parameter in model[0].parameters()]
    report = lsuv(model, data, seed=0)
    assert report.rows[-1].note.startswith("frozen")
    assert all(map(torch.equal, kept, model[0].parameters()))
    assert [row.name for row in report.scaled] == ["2"]
    report = lsuv(model, data, seed=0, include_frozen=True)
    assert [row.name for row in report.scaled] == ["0", "2"]
    assert not model[0].weight.requires_grad
    with pytest.raises(ValueError, match="include_frozen=True"):
        lsuv(model.requires_grad_(False), data)


def test_a_frozen_bias_is_kept():
    model, data = _net(lambda layer: layer), torch.randn(256, 12)
    kept = model[0].bias.requires_grad_(False).clone()
    assert kept.any()
    report = lsuv(model, data, seed=0)
    assert torch.equal(model[0].bias, kept)
    assert not model[2].bias.any()
    assert _variances(model, data)["0"] == pytest.approx(report.rows[0].std_after ** 2, abs=1e-3)
    assert _variances(model, data)["0"] == pytest.approx(1, abs=0.05)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_scripted_models_are_refused_and_scripted_parts_named():
    with pytest.raises(ValueError, match=r"before torch\.jit\.script"):
        lsuv(torch.jit.script(_net(lambda layer: layer)), torch.randn(64, 12))
    part = torch.jit.script(nn.Sequential(nn.Linear(12, 8)))
    report = lsuv(nn.Sequential(part, nn.Linear(8, 4)), torch.randn(64, 12), seed=0)
    assert [(row.name, row.scaled) for row in report.rows] == [("1", True), ("0", False)]
    assert report.rows[1].note.endswith("its layers are scripted")


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_the_model_within_a_wrapper_is_initialized(wrap):
    plain, wrapped, data = _net(lambda layer: layer), wrap(_net(lambda layer: layer)), torch.randn(64, 12)
    reports = [lsuv(model, data, seed=0) for model in (plain, wrapped)]
    assert [row.name for row in reports[0].rows] == [row.name for row in reports[1].rows]
    torch.testing.assert_close(plain(data), wrapped(data))


def test_a_compiled_part_is_initialized_and_runs_compiled_afterwards():
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    model, data = _net(lambda layer: layer), torch.randn(64, 12)
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
        (lambda: "model", "must be a torch.nn.Module, not str"),
    ],
)
def test_models_that_cannot_be_initialized_are_refused_in_one_line(build, reason):
    with pytest.raises(ValueError, match=reason) as error:
        lsuv(build(), torch.randn(8, 4))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_kept_and_measured_well(dtype):
    with preserve_random_state(set(), 0):
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)).to(dtype)
    report = lsuv(
        model, 1000 * torch.randn(64, 3, 8, 8), seed=0
    )  # its variance has no representation in half precision
    assert all(parameter.dtype == dtype for parameter in model.parameters())
    assert report.rows[0].std_before > 500
    assert all(abs(row.std_after - 1) < 0.025 for row in report.rows)


def test_autocast_does_not_hold_weights_from_before_they_were_scaled():
    model, data = _net(lambda layer: layer), 3 * torch.randn(256, 12)
    with torch.autocast("cpu", torch.bfloat16):
        model(data)  # fills the cache
        report = lsuv(model, data, seed=0)
        output = model(data).detach().float()
        assert torch.is_autocast_cache_enabled()
    assert [row.rescalings for row in report.rows] == [1, 1]
    assert float(output.var(correction=0)) == pytest.approx(1, abs=0.05)


# What follows a layer.
class _Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class _Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(12, 20), nn.LazyLinear(4), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


NON_LINEARITIES = {
    **{
        name: getattr(nn, name)()
        for name in ("ReLU", "LeakyReLU", "Tanh", "GELU", "SiLU", "ELU", "SELU", "CELU", "Mish", "Softplus")
    },
    **{
        name: getattr(nn, name)()
        for name in ("Hardswish", "ReLU6", "Hardtanh", "PReLU", "Softsign", "GLU", "LogSigmoid")
    },
    "Swish": _Swish(),
    "ReLU in place": nn.ReLU(inplace=True),
    "Sequential": nn.Sequential(nn.ReLU(), nn.SiLU()),
    "in a sequence that changes the shape": nn.Sequential(nn.ReLU(), nn.Unflatten(1, (4, 5)), nn.Flatten()),
    "relu": functional.relu,
    "gelu": functional.gelu,
    "torch.tanh": torch.tanh,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "keyword": lambda x: functional.leaky_relu(input=x, negative_slope=0.2),
    "square": lambda x: x**2,
    "glu": functional.glu,
}


@pytest.mark.parametrize("name", NON_LINEARITIES)
def test_measuring_after_holds_for_any_module_or_function(name):
    function, data = NON_LINEARITIES[name], torch.randn(512, 12, generator=torch.Generator().manual_seed(0))
    with preserve_random_state(set(), 0):
        model = _Function(function)
        model(data)
    bounded = {"Tanh": 0.1, "torch.tanh": 0.1, "Hardtanh": 0.1, "Softsign": 0.2}  # a variance of 1 is their bound
    tolerance = bounded.get(name, 0.01)
    report = lsuv(model, data, seed=0, measure="after", tolerance=tolerance)
    assert report.rows[0].note.startswith("measured after ")
    assert report.rows[1].note == ""
    taken = function
    if name == "in a sequence that changes the shape":
        taken = function[0]
    with torch.no_grad():
        assert float(taken(model.first(data)).var(correction=0)) == pytest.approx(1, abs=tolerance + 1e-4)


@pytest.mark.parametrize(
    "function",
    [
        nn.BatchNorm1d(20),
        nn.LayerNorm(20),
        nn.Dropout(0.5),
        nn.Unflatten(1, (4, 5)),
        nn.Sequential(nn.Linear(20, 20), nn.ReLU()),
        lambda x: x + torch.ones(20),
        lambda x: functional.layer_norm(x, (20,)),
        functional.dropout,
        lambda x: x.flatten(0),
        lambda x: torch.cat([x, x]),
    ],
)
def test_normalization_dropout_shapes_sums_and_layers_are_no_non_linearity(function):
    data = torch.randn(512, 12, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(12, 20))
    model.function = function
    model.forward = lambda x: torch.relu(function(model[0](x)))
    report = lsuv(model, data, seed=0, measure="after")
    assert report.rows[0].note == ""
    with torch.no_grad():
        assert float(model[0](data).var(correction=0)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("function", [nn.Sigmoid(), torch.sigmoid, nn.Sequential(nn.ReLU(), nn.Tanh())])
def test_a_variance_out_of_reach_is_said_to_be(function):
    """That of a sigmoid is at most a quarter."""
    data = torch.randn(512, 12, generator=torch.Generator().manual_seed(0))
    model = _Function(function)
    model(data)
    report = lsuv(model, data, seed=0, measure="after")
    assert [row.scaled for row in report.rows] == [True, False]
    assert report.rows[1].name == "first"
    assert report.rows[1].note.startswith("initialized but not scaled: no scale of its weight")
    assert "measured after" in report.rows[1].note
    torch.testing.assert_close(model.first.weight.mT @ model.first.weight, torch.eye(12), atol=1e-5, rtol=0)


def test_gradients_inside_the_model_and_outputs_of_any_kind_are_no_obstacle():
    class Physical(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

        def forward(self, x):
            with torch.enable_grad():
                x = x.requires_grad_()
                energy = self.net(x).sum()
                (force,) = torch.autograd.grad(energy, x)
            return [(energy, {"force": force})]

    model, data = Physical(), torch.randn(128, 4)
    report = lsuv(model, data, seed=0)
    assert len(report.scaled) == 2
    assert not data.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
