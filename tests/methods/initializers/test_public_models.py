"""LSUV on common architectures: each layer has unit variance, or a note with the reason why not."""

import pytest
import torch
import torchvision
from output_variances import output_variances
from torch import nn
from torch.nn import functional

from goodinit import lsuv
from goodinit.methods.initializers.preserve import preserve_random_state


class UNet(nn.Module):
    """Calls the transposed convolution with a keyword, for a size that is not a multiple of the stride."""

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


MODELS = {  # name: functions that return the model and its data, numbers of scaled layers and of other rows
    "resnet18": (torchvision.models.resnet18, lambda: _images(48), 21, 0),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(dropout=0.0), lambda: _images(64), 53, 0),
    "densenet121": (torchvision.models.densenet121, lambda: _images(32), 121, 0),
    "vit": (_vit, lambda: _images(32), 6, 6),
    "U-Net": (UNet, lambda: _images(21), 4, 0),
    "transformer encoder": (Encoder, lambda: torch.arange(400).view(40, 10) % 50, 5, 5),
    "LSTM": (Recurrent, lambda: torch.randn(64, 12, 8, generator=torch.Generator().manual_seed(2)), 1, 2),
    "VAE": (VAE, lambda: torch.randn(512, 1, 8, 8, generator=torch.Generator().manual_seed(3)), 5, 0),
}


def _build(name):
    build, data, scaled, others = MODELS[name]
    with preserve_random_state(set(), 0):
        return build(), data(), scaled, others


@pytest.mark.parametrize("name", MODELS)
def test_every_scaled_layer_has_unit_variance_and_every_other_row_has_a_note(name):
    model, data, scaled, others = _build(name)
    report = lsuv(model, data, seed=0)
    assert (len(report.scaled), len(report.rows) - len(report.scaled)) == (scaled, others)
    assert all(row.note for row in report.rows if not row.scaled)
    variances = output_variances(model, data)
    assert list(variances) == [row.name for row in report.scaled]  # in the order of the forward pass
    margin = 0.15 if name == "VAE" else 1e-3  # the latent variables of the VAE are random
    for row in report.scaled:
        assert abs(row.std_after**2 - 1) <= 0.05
        assert abs(variances[row.name] - row.std_after**2) < margin, row
        assert row.rescalings <= 2


@pytest.mark.parametrize("name", MODELS)
def test_evaluation_mode_is_supported(name):
    """In evaluation mode, torch's transformer layers have a fast path that does not call their submodules."""
    model, data, scaled, _ = _build(name)
    report = lsuv(model.eval(), data, seed=0, dropout=False)
    assert len(report.scaled) == scaled
    variances = output_variances(model, data) if name not in ("vit", "transformer encoder") else {}
    for row in report.scaled:
        assert abs(variances.get(row.name, 1) - 1) <= (0.15 if name == "VAE" else 0.051)
    assert torch.backends.mha.get_fastpath_enabled()


class Experts(nn.Module):
    """A mixture of experts, of which the last has no examples."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        return torch.cat([expert(part) for expert, part in zip(self.experts, (x[:5], x[5:], x[:0]), strict=True)])


def test_an_expert_without_examples_is_not_scaled():
    report = lsuv(Experts(), torch.randn(64, 8, generator=torch.Generator().manual_seed(4)), seed=0)
    assert [row.name for row in report.scaled] == ["experts.0", "experts.1"]
    assert report.rows[2].note.startswith("initialized but not scaled: not called with examples")


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_model_with_weight_norm_may_have_been_converted():
    """`weight_norm` computes the weight only when the layer is called."""
    model = nn.Sequential(nn.utils.weight_norm(nn.Conv1d(3, 8, 3)), nn.Conv1d(8, 2, 3)).double()
    report = lsuv(model, torch.randn(64, 3, 12, generator=torch.Generator().manual_seed(4)), seed=0)
    assert [row.std_after for row in report.scaled] == pytest.approx([1, 1], abs=0.03)


def test_without_dropout_no_module_is_in_training_mode():
    """Batch normalization of one example raises an error in training mode."""
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 4), nn.ReLU())
    report = lsuv(model, torch.randn(1, 8), seed=0, dropout=False, measure="after")
    assert report.rows[1].note == "measured after ReLU"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(8, 8), nn.LazyBatchNorm1d()), "the shape of 1.weight is not known yet"),
        (nn.Sequential(nn.Linear(8, 8), nn.LazyBatchNorm1d(affine=False)), "the shape of 1.running_mean is not known"),
        (nn.TransformerEncoderLayer(16, 2), "was expecting embedding dimension of 16"),
    ],
)
def test_models_that_cannot_process_the_data_are_rejected_in_one_line(model, message):
    with pytest.raises(ValueError, match=message) as raised:
        lsuv(model, torch.randn(4, 8), seed=0)
    assert "\n" not in str(raised.value)


def test_notes_give_the_reasons():
    model, data, *_ = _build("transformer encoder")
    notes = {row.name: row.note for row in lsuv(model, data, seed=0).rows}
    assert notes["encoder.layers.0.self_attn.out_proj"].startswith("initialized but not scaled: not called")
    assert "MultiheadAttention is not a linear" in notes["encoder.layers.1.self_attn.in_proj_weight"]
    assert "Embedding is not a linear" in notes["embed.weight"]
    assert notes["head"] == ""


def test_parameters_of_other_modules_do_not_change():
    model, data, *_ = _build("transformer encoder")
    before = {name: value.clone() for name, value in model.named_parameters() if "in_proj" in name or "embed" in name}
    lsuv(model, data, seed=0)
    for name, value in before.items():
        assert torch.equal(model.get_parameter(name), value)


def test_a_layer_that_is_not_called_has_a_note():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    model.head = nn.Linear(8, 2)
    model.forward = lambda x: model[1](model[0](x))
    rows = lsuv(model, torch.randn(64, 8), seed=0).rows
    assert [row.name for row in rows if row.scaled] == ["0"]
    assert rows[-1].note.startswith("initialized but not scaled: not called")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_is_kept_and_variances_are_computed_in_single_precision(dtype):
    with preserve_random_state(set(), 0):
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)).to(dtype)
    data = 1000 * torch.randn(64, 3, 8, 8)  # the variance overflows in half precision
    report = lsuv(model, data, seed=0)
    assert all(parameter.dtype == dtype for parameter in model.parameters())
    assert report.rows[0].std_before > 500
    assert all(abs(row.std_after - 1) < 0.025 for row in report.rows)


def test_autocast_uses_the_scaled_weights():
    with preserve_random_state(set(), 0):
        model = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 6))
    data = 3 * torch.randn(256, 12)
    with torch.autocast("cpu", torch.bfloat16):
        model(data)  # caches the weights in half precision
        report = lsuv(model, data, seed=0)
        output = model(data).detach().float()
        assert torch.is_autocast_cache_enabled()
    assert [row.rescalings for row in report.rows] == [1, 1]
    assert float(output.var(correction=0)) == pytest.approx(1, abs=0.05)


def test_a_model_may_compute_gradients_and_return_any_type():
    class Force(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

        def forward(self, x):
            with torch.enable_grad():
                x = x.requires_grad_()
                energy = self.layers(x).sum()
                (force,) = torch.autograd.grad(energy, x)
            return [(energy, {"force": force})]

    model, data = Force(), torch.randn(128, 4)
    report = lsuv(model, data, seed=0)
    assert len(report.scaled) == 2
    assert not data.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
