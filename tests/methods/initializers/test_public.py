"""`goodinit.lsuv`: the data that it takes, and what it leaves as it was."""

import copy
import doctest
import random
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

import goodinit
from goodinit import lsuv
from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers
from goodinit.methods.initializers import public


def _model():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(288, 4)]
        return nn.Sequential(*layers)


def _images(count=40):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def _weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


class _Pair(nn.Module):
    """Two inputs and an option."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(6, 8)

    def forward(self, left, right, scale=1.0):
        return scale * (self.left(left) + self.right(right))


class _OfDict(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 8)

    def forward(self, batch):
        return {"logits": self.layer(batch["image"])}


def test_goodinit_is_imported_without_torch_and_lists_the_name():
    code = "import sys, goodinit; assert 'lsuv' in dir(goodinit); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert goodinit.lsuv is public.lsuv
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = goodinit.nothing


def test_the_docstring_s_example_runs():
    assert doctest.testmod(public).failed == 0
    assert doctest.testmod(public).attempted >= 4


def _forms():
    images, labels = _images(), torch.zeros(40, dtype=torch.int64)
    loader = DataLoader(TensorDataset(images, labels), batch_size=40)
    return {
        "tensor": images,
        "tuple": (images,),
        "list": [images],
        "inputs and labels": (images, labels),
        "inputs and labels of any kind": [images, ["a"] * 40],
        "the project's batch": Examples(images, labels),
        "keywords": {"input": images},
        "double": images.double(),
        "DataLoader": loader,
        "DataLoader without labels": DataLoader(TensorDataset(images), batch_size=40),
        "DataLoader of dicts": DataLoader([{"input": image} for image in images], batch_size=40),
        "DataLoader of small batches": DataLoader(TensorDataset(images, labels), batch_size=20),
        "DataLoader of single examples": DataLoader(images, batch_size=1),
    }


@pytest.mark.parametrize("form", _forms())
def test_data_may_have_any_usual_form(form):
    expected, model = _model(), _model()
    lsuv(expected, _images(), seed=3)
    report = lsuv(model, _forms()[form], seed=3, examples=40)
    assert [row.name for row in report.scaled] == ["0", "5"]
    assert torch.equal(_weights(model), _weights(expected))


def test_several_arguments_are_a_tuple_or_keywords_and_labels_are_one_more():
    left, right = torch.randn(64, 4), torch.randn(64, 6)
    found = []
    for data in ((left, right), (left, right, torch.zeros(64)), {"right": right, "left": left, "scale": 1.0}):
        model = _Pair()
        assert len(lsuv(model, data, seed=0).scaled) == 2
        found.append(_weights(model))
    assert all(torch.equal(found[0], other) for other in found)


def test_a_model_may_take_the_dict_itself():
    loader = DataLoader([{"image": torch.randn(4), "label": 3, "name": "a"} for _ in range(64)], batch_size=32)
    report = lsuv(_OfDict(), loader, seed=0)
    assert report.scaled[0].std_after == pytest.approx(1, abs=0.03)


class _Counted(IterableDataset):
    def __init__(self):
        self.given = 0

    def __iter__(self):
        while True:
            self.given += 1
            yield torch.randn(4), 0


@pytest.mark.parametrize(("batch_size", "wanted", "taken"), [(8, 32, 32), (5, 32, 35), (64, 32, 64), (8, 1, 8)])
def test_no_more_of_a_data_loader_is_taken_than_needed(batch_size, wanted, taken):
    stream = _Counted()
    lsuv(nn.Linear(4, 2), DataLoader(stream, batch_size=batch_size), examples=wanted)
    assert stream.given == taken


def test_batches_of_other_lengths_cannot_be_joined_and_the_first_serves():
    loader = DataLoader([torch.randn(length, 4) for length in (30, 20, 10)], batch_size=1)
    model, first = nn.Linear(4, 8), next(iter(loader))
    lsuv(model, loader, seed=0)
    assert float(model(first).detach().var(correction=0)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "not NoneType"),
        ("images", "not str"),
        (np.zeros((8, 3, 8, 8), dtype=np.float32), "not ndarray"),
        ((image for image in _images()), "not generator"),
        (TensorDataset(_images()), "not TensorDataset"),
        ((), "data has 0 elements"),
        ((1, 2), "contains no tensor"),
        ((_images(), 1, 2), "data has 3 elements"),
        ({}, "contains no tensor"),
        ({"x": _images()}, "cannot process this data"),
        ({"input": _images(), "labels": 1}, "has no argument 'labels'; it takes input"),
        (_images()[:0], "without elements"),
        (torch.full((4, 3, 8, 8), torch.nan), "NaN or infinite"),
        (torch.full((4, 3, 8, 8), torch.inf), "NaN or infinite"),
        (torch.zeros(4, 3, 8, 8), "layer 0: the variance of its output is 0"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "cannot process this data"),
        (torch.randn(4, 5, 8, 8), "cannot process this data"),
        (torch.randn(4, 3, 9, 9), "cannot process this data"),
        (DataLoader(TensorDataset(_images()[:0]), batch_size=4), "the DataLoader yields no batch"),
        (DataLoader(TensorDataset(_images()), batch_size=64, drop_last=True), "the DataLoader yields no batch"),
    ],
)
def test_wrong_data_are_refused_in_one_line_and_leave_no_trace(data, reason):
    model = _model()
    before = _state(model)
    with pytest.raises(ValueError, match=reason) as error:
        lsuv(model, data, seed=0)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    _assert_same(before, _state(model))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"seed": 1, "generator": torch.Generator()}, "either seed or generator"),
        ({"start": "normal"}, "start must be orthonormal or lecun_normal, not 'normal'"),
        ({"measure": "between"}, "measure must be before or after"),
        ({"decomposition": "lu"}, "decomposition must be qr or svd"),
        ({"tolerance": 0.0}, "tolerance must be more than 0"),
        ({"max_iterations": 0}, "max_iterations"),
    ],
)
def test_options_out_of_range_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        lsuv(_model(), _images(), **options)


def _state(model):
    """Return what a call may not change: modes, buffers, hooks, and every global random state."""
    return {
        "modes": [module.training for module in model.modules()],
        "buffers": {name: (id(buffer), buffer.clone()) for name, buffer in model.named_buffers()},
        "hooks": [(list(one._forward_hooks), list(one._forward_pre_hooks)) for one in model.modules()],
        "random": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()),  # noqa: NPY002
        "gradients": [parameter.grad for parameter in model.parameters()],
        "required": [parameter.requires_grad for parameter in model.parameters()],
        "identity": [id(parameter) for parameter in model.parameters()],
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "gradients on": torch.is_grad_enabled(),
    }


def _assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name == "buffers":
            assert {key: identity for key, (identity, _) in value.items()} == {
                key: identity for key, (identity, _) in other[name].items()
            }
            assert all(torch.equal(buffer, other[name][key][1]) for key, (_, buffer) in value.items())
        elif name == "random":
            assert torch.equal(value[0], other[name][0])
            assert value[1:] == other[name][1:]
        else:
            assert value == other[name], name


class _Drawing(nn.Module):
    """Draws from every global generator, and replaces a buffer by a new tensor."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count = self.count + 1
        return x + torch.randn_like(x) * random.random() * float(np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"measure": "after"}, {"dropout": False}, {"start": "lecun_normal"}])
def test_modes_buffers_hooks_and_random_states_are_as_before(training, options):
    model = _model().insert(4, _Drawing()).train(training)
    model[3].train()  # dropout that is on in evaluation mode, as for its uncertainty
    before = _state(model)
    lsuv(model, _images(), seed=0, **options)
    _assert_same(before, _state(model))


@pytest.mark.parametrize("measure", ["before", "after"])
def test_an_error_within_the_model_leaves_no_trace_and_is_the_cause(measure):
    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("first line\nsecond line")

    model = _model().append(Failing())
    model[1].eval()
    before = _state(model)
    with pytest.raises(ValueError, match="cannot process this data: RuntimeError: first line") as error:
        lsuv(model, _images(), seed=0, measure=measure)
    assert isinstance(error.value.__cause__, RuntimeError)
    _assert_same(before, _state(model))


def test_an_interruption_leaves_no_trace():
    class Interrupted(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    model = _model().append(Interrupted())
    before = _state(model)
    with pytest.raises(KeyboardInterrupt):
        lsuv(model, _images(), seed=0)
    _assert_same(before, _state(model))


def test_frozen_batch_normalization_is_frozen_while_measuring():
    model, other = _model(), _model()
    for one in (model, other):
        one[1].running_var.fill_(25.0)
    model[1].eval()
    lsuv(model, _images(), seed=0)
    lsuv(other, _images(), seed=0)
    assert not model[1].training
    assert model.training
    assert not torch.allclose(model[5].weight, other[5].weight)  # for other inputs
    with torch.no_grad():
        hidden = model[:3](_images())
    assert float(hidden.var()) < 0.1  # by the running variance, not the batch's
    assert float(model[5](model[4](hidden)).detach().var()) == pytest.approx(1, abs=0.2)  # without dropout


def test_hooks_of_the_user_are_kept_and_called_once_with_the_scaled_output():
    model, seen, inputs = _model(), [], []
    model[0].register_forward_hook(lambda layer, args, output: seen.append(float(output.var(correction=0))))
    model[0].register_forward_pre_hook(lambda layer, args: inputs.append(args) or (2 * args[0],))
    report = lsuv(model, _images(), seed=0)
    assert len(seen) == len(inputs) == 1
    assert seen[0] == pytest.approx(report.rows[0].std_after ** 2)
    assert report.rows[0].rescalings == 1
    with torch.no_grad():
        assert float(model[0](_images()).var()) == pytest.approx(1, abs=0.05)  # with what the hook makes of the input


def test_the_user_s_data_are_not_changed_nor_asked_for_gradients():
    data, model = _images(), nn.Sequential(nn.ReLU(inplace=True), *_model())
    kept = data.clone()
    lsuv(model, data, seed=0, measure="after")
    assert torch.equal(data, kept)
    model = _model()
    lsuv(model, data.requires_grad_(), seed=0)
    assert data.grad is None


def test_seed_generator_or_the_global_state_decide():
    weights = {}
    for name, options in {
        "1": {"seed": 1},
        "1 again": {"seed": 1},
        "2": {"seed": 2},
        "generator": {"generator": torch.Generator().manual_seed(1)},
    }.items():
        model = _model()
        torch.manual_seed(hash(name) % 1000)
        lsuv(model, _images(), **options)
        weights[name] = _weights(model)
    assert torch.equal(weights["1"], weights["1 again"])
    assert torch.equal(weights["1"], weights["generator"])
    assert not torch.equal(weights["1"], weights["2"])
    found = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        model = _model()
        lsuv(model, _images())
        found.append(_weights(model))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_given_generator_advances():
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    lsuv(_model(), _images(), generator=generator)
    assert not torch.equal(generator.get_state(), state)


def test_a_shuffling_loader_follows_the_seed_and_its_generators_stay():
    data_set, found = TensorDataset(_images(), torch.zeros(40)), []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))
        model = _model()
        lsuv(model, DataLoader(data_set, batch_size=8, shuffle=True), seed=seed, examples=8)
        found.append(_weights(model))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    generators = [torch.Generator().manual_seed(one) for one in (3, 4)]
    sampler = RandomSampler(data_set, generator=generators[0])
    states = [generator.get_state() for generator in generators]
    lsuv(_model(), DataLoader(data_set, batch_size=8, sampler=sampler, generator=generators[1]))
    assert all(map(torch.equal, states, [generator.get_state() for generator in generators]))


def test_the_report_prints_as_a_table():
    model = nn.Sequential(OrderedDict(first=nn.Linear(4, 3), second=nn.Linear(3, 2), last=nn.LSTM(2, 2)))
    model.second.requires_grad_(False)
    lines = str(lsuv(model, torch.randn(50, 4), seed=0)).splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "first", "second", "last.weight_ih_l0", "last.weight_hh_l0"]
    columns = [lines[0].index(title) for title in ("shape", "note")]
    assert lines[1][columns[0] :].startswith("3x4")
    assert lines[2][columns[1] :].startswith("frozen: its weight requires no gradient")
    assert lines[1].split()[3] == "1"


@pytest.mark.parametrize("tolerance", [0.05, 1e-4])
def test_an_output_that_is_divided_is_the_one_that_would_be_computed(tolerance):
    """The studies' function computes a layer anew after each rescaling."""
    ours, theirs, images = _model(), _model(), _images()
    for model in (ours, theirs):
        model[3].p = 0.0
    report = lsuv(ours, images, seed=7, tolerance=tolerance)
    batch = Examples(images, torch.zeros(40))
    generator = torch.Generator().manual_seed(7)
    other = initializers.lsuv(theirs, batch, generator, batches=1, tolerance=tolerance)
    torch.testing.assert_close(_weights(ours), _weights(theirs), rtol=1e-5, atol=1e-7)
    assert report.rescalings.tolist() == other.rescalings.tolist()


class _Clipped(nn.Linear):
    """Not linear in its weight, although it is a linear layer."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight.clamp(-0.2, 0.2))


def test_a_layer_with_a_forward_of_its_own_is_computed_anew():
    model, data = nn.Sequential(_Clipped(16, 8), nn.ReLU(), nn.Linear(8, 2)), 8 * torch.randn(200, 16)
    lsuv(model, data, seed=0)
    with torch.no_grad():
        assert float(model[0](data).var(correction=0)) == pytest.approx(1, abs=0.05)
        assert float(model(data).var(correction=0)) == pytest.approx(1, abs=0.05)


def test_unit_variance_is_the_population_s_and_the_whole_output_s():
    """By hand: an output of two channels with different means."""
    layer, data = nn.Linear(3, 2), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]])
    report = lsuv(layer, data, seed=0, tolerance=1e-5)
    output = layer(data).detach()
    assert float(((output - output.mean()) ** 2).mean()) == pytest.approx(1, abs=1e-5)
    start = copy.deepcopy(layer)
    start.weight.data *= report.rows[0].std_before
    torch.testing.assert_close(start.weight @ start.weight.T, torch.eye(2), atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_takes_data_of_the_cpu():
    model, expected = _model().cuda(), _model()
    state = torch.cuda.get_rng_state()
    lsuv(model, _images(), seed=0, dropout=False)
    lsuv(expected, _images(), seed=0, dropout=False)
    torch.testing.assert_close(_weights(model).cpu(), _weights(expected), atol=1e-4, rtol=1e-3)
    assert torch.equal(torch.cuda.get_rng_state(), state)
