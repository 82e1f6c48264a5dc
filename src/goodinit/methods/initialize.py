"""Initializers: each fills the weights of a model in place and sets its biases to zero; but for `as_built`.

Where a model's layers say how its authors filled them, `published` follows, and the others may keep those biases.
All take the same arguments, `(model, batch, generator, **options)`: the data-dependent one, `lsuv`, looks at
`batch`, the others do not.  Layers are filled in the order in which the model lists them, so at one
seed two Gaussian schemes draw the same standard normal numbers and differ in scale alone.
"""

import contextlib
import math
from typing import Literal

import torch
from torch import nn

__all__ = [
    "as_built",
    "gaussian",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "lsuv",
    "orthonormal",
    "published",
]

LAYERS = nn.Linear | nn.modules.conv._ConvNd  # what is filled
NON_LINEARITIES = nn.ReLU | nn.LeakyReLU | nn.Sigmoid | nn.Tanh


def as_built(model, batch, generator):
    """Nothing: parameters stay what the model was built with, as where a starting point is part of the model.

    Args:
        model, batch, generator: not used.
    """


def gaussian(model, batch, generator, *, std: float = 0.01):
    r"""One scale for every layer: :math:`w \sim \mathcal{N}(0, \mathrm{std}^2)`.

    Args:
        model: its linear and convolutional weights are filled, its biases set to 0.
        batch: not used.
        generator: draws the weights.
        std: standard deviation, at least 0.

    Raises:
        ValueError: `std` is negative.

    Reference: Saito, Deep Learning from Scratch (2016), section 6.2, where std is 1 and 0.01.
    """
    if std < 0:
        raise ValueError(f"gaussian: std must be at least 0, not {std}")
    _normal(model, generator, lambda fan_in, fan_out: std)


def lecun_normal(model, batch, generator):
    r"""Fan-in alone: :math:`w \sim \mathcal{N}(0, 1 / n_\mathrm{in})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: LeCun, Bottou, Orr & Müller, Efficient BackProp (1998), equation 16.  It is what the code
        of Saito, Deep Learning from Scratch (2016) calls "Xavier"; equal to Glorot's rule where a
        layer has as many inputs as outputs.
    """
    _normal(model, generator, lambda fan_in, fan_out: math.sqrt(1 / fan_in))


def lecun_uniform(model, batch, generator):
    r"""Uniform with LeCun's variance: :math:`w \sim \mathcal{U}(\pm\sqrt{3 / n_\mathrm{in}})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: LeCun et al. (1998), equation 16, for the variance.  It is what Caffe's `xavier` filler draws.
    """
    _uniform(model, generator, lambda fan_in, fan_out: math.sqrt(1 / fan_in))


def glorot_normal(model, batch, generator):
    r"""Both fans: :math:`w \sim \mathcal{N}(0, 2 / (n_\mathrm{in} + n_\mathrm{out}))`; also called Xavier.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
        networks (2010), equation 12.
    """
    _normal(model, generator, _glorot_std)


def glorot_uniform(model, batch, generator):
    r"""Uniform with Glorot's variance: :math:`w \sim \mathcal{U}(\pm\sqrt{6 / (n_\mathrm{in} + n_\mathrm{out})})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: Glorot & Bengio (2010), equation 16, the "normalized initialization".
    """
    _uniform(model, generator, _glorot_std)


def he_normal(model, batch, generator):
    r"""Fan-in, doubled for rectifiers: :math:`w \sim \mathcal{N}(0, 2 / n_\mathrm{in})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: He, Zhang, Ren & Sun, Delving deep into rectifiers (2015), equation 10.
    """
    _normal(model, generator, _he_std)


def he_uniform(model, batch, generator):
    r"""Uniform with He's variance: :math:`w \sim \mathcal{U}(\pm\sqrt{6 / n_\mathrm{in}})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: He, Zhang, Ren & Sun (2015), equation 10, for the variance.
    """
    _uniform(model, generator, _he_std)


@torch.no_grad()
def published(model, batch, generator):
    r"""As the model's authors filled it: normal or uniform weights and a constant bias, for each layer its own.

    Args:
        model: its linear and convolutional layers have an attribute `published`: `distribution`, `normal` or `uniform`,
            the `std` of the weights, and the value of the `bias`; see `models.caffenet` and `models.googlenet`.
        batch: not used.
        generator: draws the weights.

    Raises:
        ValueError: a layer says nothing of the kind.
    """
    for layer, own in _published("published", model):
        if own["distribution"] == "normal":
            layer.weight.normal_(0, own["std"], generator=generator)
        else:
            bound = math.sqrt(3) * own["std"]
            layer.weight.uniform_(-bound, bound, generator=generator)
    _set_biases("published", model, "published")


@torch.no_grad()
def orthonormal(model, batch, generator, *, gain: float = 1.0, biases: Literal["zero", "published"] = "zero"):
    r"""Orthonormal rows, or columns where there are more outputs than inputs: :math:`W W^T = \mathrm{gain}^2 I`.

    Each weight is taken as a matrix (outputs, fan-in) and filled with standard normal numbers, whose singular
    value decomposition :math:`U S V^T` gives :math:`V^T`, or U, whichever has the matrix's shape.

    Args:
        model, batch, generator: as in `gaussian`.
        gain: scale of the matrix, more than 0; :math:`\sqrt 2` makes up for rectifiers.
        biases: 0, or what the model's authors set them to, as in `published`.

    Raises:
        ValueError: `gain` is not more than 0, or the model has no published biases.

    Reference: Saxe, McClelland & Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks (2014); Mishkin & Matas, All you need is a good init (2016), section 2, whose program
        is followed.
    """
    if gain <= 0:
        raise ValueError(f"orthonormal: gain must be more than 0, not {gain}")
    for layer in model.modules():
        if isinstance(layer, LAYERS):
            matrix = layer.weight.flatten(1)
            drawn = torch.randn(matrix.shape, generator=generator)
            left, _, right = torch.linalg.svd(drawn, full_matrices=False)
            chosen = left if left.shape == matrix.shape else right
            layer.weight.copy_(gain * chosen.view_as(layer.weight))
    _set_biases("orthonormal", model, biases)


@torch.no_grad()
def lsuv(
    model,
    batch,
    generator,
    *,
    start: Literal["orthonormal", "lecun_normal"] = "orthonormal",
    tolerance: float = 0.05,
    max_iterations: int = 100,
    batch_size: int = 128,
    batches: int = 2,
    dropout: bool = True,
    measure: Literal["before", "after"] = "before",
    biases: Literal["zero", "published"] = "zero",
):
    r"""Layer-sequential unit-variance initialization: orthonormal weights, each layer's output scaled to variance 1.

    In forward order, each layer's weights are divided by the standard deviation of its output, over the
    mini-batch, channels and space together, until

    .. math:: |\mathrm{Var}(B_L) - 1| \le \mathrm{tolerance}

    The output is that of the layer itself, before a non-linearity or a sum; the pieces of a maxout are layers of
    their own, and the classifier is one, too.  The net is gone through once: a layer is scaled when the
    activations reach it, and hands on what it gives then.  Residual and branching nets need nothing special.
    Auxiliary classifiers, which are there in training alone, are scaled where `dropout` is on; else they stay as
    they were filled.

    The authors' first program read the outputs after the whole net had been run, and so, in nets whose rectifiers work
    in place, after the rectifier; the later one does not.  `measure` has both.

    Deviation: every trial draws its mini-batch from a few times as many examples, which are carried through the
    net together; the authors' program reads on in the training set.

    Args:
        model: as in `gaussian`.
        batch: images, float (N, ...), of which the first are taken.
        generator: draws the weights, the mini-batches and what dropout drops.
        start: what the weights are filled with first; `lecun_normal` is the paper's Gaussian.
        tolerance: of the variance, more than 0.
        max_iterations: the most rescalings of a layer, at least 1.
        batch_size: examples of a mini-batch; all of `batch` where it has fewer.
        batches: how many mini-batches' worth of examples to draw from, as far as `batch` goes; with one, the same
            mini-batch serves throughout.
        dropout: leave dropout on while measuring, as the authors' program does.
        measure: the output as the layer gives it, or after the non-linearity that it goes straight into; where there is
            none, as it is.
        biases: 0, or what the model's authors set them to, as in `published`; either way they are not scaled.

    Returns:
        The number of rescalings of each layer, in forward order, int64 (L,).

    Raises:
        ValueError: a layer's output is constant or not finite on the mini-batch, a layer is used twice, the model has
            no published biases, or an option is out of its range.

    Reference: Mishkin & Matas, All you need is a good init (2016), Algorithm 1, and their program of November 2015.
    """
    if tolerance <= 0 or min(max_iterations, batch_size, batches) < 1:
        raise ValueError("lsuv: tolerance must be more than 0; max_iterations, batch_size and batches at least 1")
    {"orthonormal": orthonormal, "lecun_normal": lecun_normal}[start](model, batch, generator)
    _set_biases("lsuv", model, biases)
    names = {layer: name for name, layer in model.named_modules() if isinstance(layer, LAYERS)}
    following = _following(model, batch.images[:2]) if measure == "after" else {}
    rescalings = {}

    def scale(layer, inputs, output):
        name = names[layer]
        if name in rescalings:
            raise ValueError(f"lsuv: layer {name} is used twice in one pass: its outputs have no single variance")
        rescalings[name] = 0
        while True:
            chosen = torch.randperm(len(output), generator=generator)[:batch_size].to(output.device)
            measured = output[chosen] if len(output) > batch_size else output
            if layer in following:
                measured = following[layer](measured.clone())  # it may work in place
            variance = float(measured.var(correction=0))
            if not 0 < variance < math.inf:
                raise ValueError(f"lsuv: layer {name}: the variance of its output is {variance}: nothing to divide by")
            if abs(variance - 1) <= tolerance or rescalings[name] == max_iterations:
                return output
            layer.weight /= math.sqrt(variance)
            rescalings[name] += 1
            output = layer.forward(*inputs)

    with _looked_through(model, [layer.register_forward_hook(scale) for layer in names]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        model.train(dropout)(batch.images[: batches * batch_size])
    return torch.tensor(list(rescalings.values()))


@contextlib.contextmanager
def _looked_through(model, hooks):
    """Remove the hooks after the block, and leave the model's mode, buffers and random numbers as they were."""
    was_training, buffers = model.training, {name: one.clone() for name, one in model.named_buffers()}
    streams = [one for module in model.modules() for one in getattr(module, "generators", ())]
    states = [stream.get_state() for stream in streams]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        for stream, state in zip(streams, states, strict=True):
            stream.set_state(state)


def _following(model, images):
    """Return {layer: the non-linearity that works on its output as it is}, found on a few images."""
    given, found = {}, {}

    def give(layer, inputs, output):
        given[id(output)] = layer, output  # held, so that no other tensor gets its id

    def take(module, inputs):
        if id(inputs[0]) in given:
            found[given[id(inputs[0])][0]] = module

    hooks = [
        module.register_forward_hook(give) if isinstance(module, LAYERS) else module.register_forward_pre_hook(take)
        for module in model.modules()
        if isinstance(module, LAYERS | NON_LINEARITIES)
    ]
    with _looked_through(model, hooks):
        model.train()(images)
    return found


# The roundings of these two are those of torch.nn.init, which the tests hold them to bit by bit.
def _glorot_std(fan_in, fan_out):
    return math.sqrt(2 / (fan_in + fan_out))


def _he_std(fan_in, fan_out):
    return math.sqrt(2) / math.sqrt(fan_in)


def _normal(model, generator, std):
    _fill(model, std, lambda weight, scale: weight.normal_(0, scale, generator=generator))


def _uniform(model, generator, std):
    def draw(weight, scale):
        bound = math.sqrt(3) * scale
        weight.uniform_(-bound, bound, generator=generator)

    _fill(model, std, draw)


@torch.no_grad()
def _fill(model, std, draw):
    """Call draw(weight, std(fan_in, fan_out)) for every layer, and set its bias to zero."""
    for layer in model.modules():
        if isinstance(layer, LAYERS):
            draw(layer.weight, std(*nn.init._calculate_fan_in_and_fan_out(layer.weight)))
    _set_biases("", model, "zero")


def _set_biases(initializer, model, biases):
    """Set every layer's bias to 0, or to what its authors did."""
    if biases == "published":
        for layer, own in _published(initializer, model):
            if layer.bias is not None:
                layer.bias.fill_(own["bias"])
        return
    for layer in model.modules():
        if isinstance(layer, LAYERS) and layer.bias is not None:
            layer.bias.zero_()


def _published(initializer, model):
    """Yield each layer with how its authors filled it."""
    for name, layer in model.named_modules():
        if isinstance(layer, LAYERS):
            if not hasattr(layer, "published"):
                raise ValueError(f"{initializer}: the model does not say how its authors filled the layer {name}")
            yield layer, layer.published
