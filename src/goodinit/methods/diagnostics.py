"""Diagnostics: what is watched in a run.  They look and never change.

Each is a context manager, `(model, batch, generator, **options)`, that gives a function: called at a
step, it returns {name: array}.  `DIMENSIONS` names the axes of every array that is not a scalar.
"""

import contextlib
import copy
import math
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

__all__ = [
    "activations",
    "gradient_check",
    "gradients",
    "layer_outputs",
    "path",
    "reconstructions",
    "update_size",
    "weight_variance",
]

DIMENSIONS = {
    "activation_mean": ("layer",),
    "activation_sd": ("layer",),
    "share_low": ("layer",),
    "share_high": ("layer",),
    "share_saturated": ("layer",),
    "share_zero": ("layer",),
    "share_dead": ("layer",),
    "activation_count": ("layer", "bin"),
    "activation_edge": ("layer", "bin"),
    "gradient_variance": ("layer",),
    "weight_gradient_variance": ("layer",),
    "output_variance": ("layer",),
    "weight_sd": ("layer",),
    "update_size": ("layer",),
    "weight_variance_ratio": ("layer",),
    "reconstructions": ("kind", "image", "channel", "row", "column"),
    "gradient_error": ("parameter",),
    "gradient_size": ("parameter",),
    "position": ("coordinate",),
}

LAYERS = nn.Linear | nn.modules.conv._ConvNd
BOUNDS = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}


@contextlib.contextmanager
def activations(model, batch, generator, *, bins: int = 30, end: float = 0.01):
    """Distribution of every activation layer's output on `batch`.

    Args:
        model: its `nn.Sigmoid`, `nn.Tanh` and `nn.ReLU` modules are watched, in forward order.
        batch: images, float (N, ...).
        generator: not used.
        bins: of the histogram, over the bounds of the activation, or, where it has none, from the
            smallest to the largest output of any layer.
        end: share of the range that counts as "at the end".

    Yields:
        A function of the step that gives, for L layers: `activation_mean`, `activation_sd`; `share_low`,
        `share_high`, `share_saturated`, the outputs at the lower, upper, either end of a bounded
        activation (NaN where it has no bounds); `share_zero`, the outputs that are exactly 0;
        `share_dead`, the units (of a convolution: channels) whose output is 0 for every input, all (L,); the histogram
        `activation_count` (L, bins) and the left edges of its bins, `activation_edge` (L, bins).

    Raises:
        ValueError: the model has no such module, or `bins` is less than 1.

    Reference: Glorot & Bengio (2010), figures 2 and 3; Saito (2016), section 6.2.
    """
    watched = [module for module in model.modules() if isinstance(module, nn.Sigmoid | nn.Tanh | nn.ReLU)]
    if not watched or bins < 1:
        raise ValueError("activations: needs a model with sigmoid, tanh or relu modules, and bins of at least 1")

    def observe(step):
        with _probe(model) as twin, torch.no_grad():
            outputs, _ = _outputs(twin, nn.Sigmoid | nn.Tanh | nn.ReLU, batch.images)
        widest = (min(float(x.min()) for x in outputs), max(float(x.max()) for x in outputs))
        return _stack(
            _describe(output, BOUNDS.get(type(module)), widest, bins, end)
            for module, output in zip(watched, outputs, strict=True)
        )

    yield observe


def _describe(output, bounds, widest, bins, end):
    """Return the statistics of one layer's output, (N, units)."""
    low, high = bounds or widest
    margin = end * (high - low)
    below, above = output < low + margin, output > high - margin
    high = high if high > low else low + 1
    counts = torch.histc(output.cpu(), bins, low, high)
    return {
        "activation_mean": float(output.mean()),
        "activation_sd": float(output.std(correction=0)),
        "share_low": _share(below) if bounds else math.nan,
        "share_high": _share(above) if bounds else math.nan,
        "share_saturated": _share(below | above) if bounds else math.nan,
        "share_zero": _share(output == 0),
        "share_dead": _share((output == 0).transpose(0, 1).flatten(1).all(1)),
        "activation_count": counts.to(torch.int64).numpy(),
        "activation_edge": np.linspace(low, high, bins, endpoint=False),
    }


def _share(mask):
    return float(mask.float().mean())


@contextlib.contextmanager
def gradients(
    model, batch, generator, *, source: Literal["normal", "cross_entropy"] = "normal", examples: int | None = None
):
    r"""Variance of what is propagated back, per linear or convolutional layer, on `batch`.

    With `normal` the model's outputs receive gradients drawn once from N(0, 1), so that a variance of 1 at
    a layer means that the gradient came through unchanged.

    Deviation: Glorot & Bengio propagate back the cost's gradient, as `cross_entropy` does; a net without an
    output layer and without labels has no cost.

    Args:
        model: its linear and convolutional layers are watched, in forward order.
        batch: images, float (N, ...); labels, int64 (N,), for `cross_entropy`.
        generator: draws the outputs' gradients.
        source: of what is propagated back: drawn, or the gradient of the mean cross-entropy.
        examples: the first so many of `batch` are looked at, or all.

    Yields:
        A function of the step that gives, for L layers, `gradient_variance` (L,), the mean square of
        :math:`\partial C / \partial s_l` over inputs and units, where s is the layer's output before
        the non-linearity, and `weight_gradient_variance` (L,), that of :math:`\partial C / \partial W_l`.

    Raises:
        ValueError: `examples` is less than 1, or the model has auxiliary classifiers.

    Reference: Glorot & Bengio (2010), section 4.2.1, equations 6 and 7, and figure 7; Mishkin & Matas, All you
        need is a good init (2016), appendix A.3.
    """
    if examples is not None and examples < 1:
        raise ValueError(f"gradients: examples must be at least 1, not {examples}")
    images, labels = batch.images[:examples], batch.labels[:examples]
    with torch.no_grad(), _probe(model) as twin:
        output = twin(images)
    if isinstance(output, tuple):
        raise ValueError("gradients: takes a model of one output: build it without its auxiliary classifiers")
    cotangent = torch.randn(output.shape, generator=generator).to(images.device)

    def propagate(output):
        if source == "normal":
            output.backward(cotangent)
        else:
            functional.cross_entropy(output, labels).backward()

    def observe(step):
        with _probe(model) as twin, torch.enable_grad():
            weights = [module.weight for module in twin.modules() if isinstance(module, LAYERS)]
            before, _ = _outputs(twin, LAYERS, images, propagate)
        return _stack(
            {
                "gradient_variance": float(output.grad.square().mean()),
                "weight_gradient_variance": float(weight.grad.to_dense().square().mean()),
            }
            for output, weight in zip(before, weights, strict=True)
        )

    yield observe


@contextlib.contextmanager
def gradient_check(model, batch, generator, *, step_size: float = 1e-4, coordinates: int = 50):
    r"""Back-propagated gradients against central differences of the cross-entropy on `batch`, in float64.

    .. math:: \frac{L(\theta_i + h) - L(\theta_i - h)}{2 h}

    The model is in training mode, so that batch normalization uses the batch's own statistics.  Take more
    than one input: with a single one the batch's mean is the input itself, every normalized output is 0,
    and so every rectifier stands exactly on its kink, where the difference is half the one-sided slope and
    back-propagation answers 0.

    Deviation: of a parameter with more numbers than `coordinates`, so many are drawn at random; the
    textbook's program takes them all, one by one.

    Args:
        model: maps images to logits (N, classes), without dropout, which would be another each time; it is copied.
        batch: images, float (N, ...); labels, int64 (N,).
        generator: draws the coordinates.
        step_size: h, more than 0.
        coordinates: the most numbers of a parameter that are looked at, at least 1.

    Yields:
        A function of the step that gives, for P parameters in the model's order, `gradient_error` (P,), the
        mean of |back-propagated - difference|, and `gradient_size` (P,), the mean of |back-propagated|, over the
        coordinates looked at.

    Raises:
        ValueError: `step_size` or `coordinates` is out of its range, or the model has dropout.

    Reference: Saito, Deep Learning from Scratch (2016), section 5.7.4 and `ch06/batch_norm_gradient_check.py`.
    """
    if step_size <= 0 or coordinates < 1:
        raise ValueError("gradient_check: step_size must be more than 0 and coordinates at least 1")
    if any(_is_dropout(module) and getattr(module, "p", 1) for module in model.modules()):
        raise ValueError("gradient_check: the model has dropout, which is another at each pass: set its dropout to 0")
    chosen = [
        torch.randperm(parameter.numel(), generator=generator)[:coordinates].to(parameter.device)
        for parameter in model.parameters()
    ]

    def observe(step):
        with _probe(model) as twin, torch.enable_grad():
            twin.double().train()
            images = batch.images.double()

            def loss():
                return functional.cross_entropy(twin(images), batch.labels)

            gradients = [one.to_dense() for one in torch.autograd.grad(loss(), list(twin.parameters()))]
            with torch.no_grad():
                return _stack(
                    _compare(parameter.view(-1), gradient.reshape(-1), places, loss, step_size)
                    for parameter, gradient, places in zip(twin.parameters(), gradients, chosen, strict=True)
                )

    yield observe


def _compare(numbers, gradient, places, loss, step_size):
    """Return the mean error and size of the gradient at some places of a parameter, both flat."""
    errors = []
    for place in places.tolist():
        kept = numbers[place].item()
        numbers[place] = kept + step_size
        above = loss()
        numbers[place] = kept - step_size
        errors.append(abs(float(above - loss()) / (2 * step_size) - gradient[place].item()))
        numbers[place] = kept
    return {"gradient_error": sum(errors) / len(errors), "gradient_size": float(gradient[places].abs().mean())}


@contextlib.contextmanager
def layer_outputs(model, batch, generator, *, examples: int = 128):
    """Scale of what every linear and convolutional layer gives, before its non-linearity, with dropout off.

    Args:
        model: its linear and convolutional layers are watched, in forward order, also those of auxiliary
            classifiers; it maps images to logits, or to a tuple of them, of which the first are meant.
        batch: images, float (N, ...); labels, int64 (N,).
        generator: not used.
        examples: the first so many of `batch` are looked at.

    Yields:
        A function of the step that gives, for L layers, `output_variance` (L,), over examples, channels and
        space together, the last being that of the logits; `weight_sd` (L,); and `batch_loss` (), the
        cross-entropy on those examples.

    Reference: Mishkin & Matas, All you need is a good init (2016), sections 2 and A.2.
    """

    def observe(step):
        with _probe(model) as twin, torch.no_grad():
            for module in twin.modules():
                if _is_dropout(module):
                    module.eval()
            first = batch.images[:examples]
            layers, logits = _outputs(twin, LAYERS, first, keep=_scale)
            logits = logits[0] if isinstance(logits, tuple) else logits
            loss = functional.cross_entropy(logits, batch.labels[:examples])
        return _stack(layers) | {"batch_loss": float(loss)}

    yield observe


def _scale(layer, output):
    return {
        "output_variance": float(output.var(correction=0)),
        "weight_sd": float(layer.weight.std(correction=0)),
    }


@contextlib.contextmanager
def update_size(model, batch, generator):
    r"""How far each layer's weights have moved: :math:`\lVert W - W' \rVert / \lVert W' \rVert`.

    W' are the weights when this was last called, so that, called after every step, it is the relative size of
    an update; NaN at first.

    Args:
        model: its linear and convolutional layers are watched, in the order in which it lists them.
        batch, generator: not used.

    Yields:
        A function of the step that gives `update_size` (L,), and `mean_update_size` (), its mean over the layers.

    Deviation: the paper does not say how the layers of a net are made one number.

    Reference: Mishkin & Matas (2016), figure 1.
    """
    weights = [module.weight for module in model.modules() if isinstance(module, LAYERS)]
    last = [torch.full_like(weight, math.nan) for weight in weights]

    def observe(step):
        with torch.no_grad():
            sizes = [float((now - then).norm() / then.norm()) for now, then in zip(weights, last, strict=True)]
            for now, then in zip(weights, last, strict=True):
                then.copy_(now)
        return {"update_size": np.array(sizes), "mean_update_size": float(np.mean(sizes))}

    observe.state = last
    yield observe


@contextlib.contextmanager
def weight_variance(model, batch, generator):
    r"""Variance of each layer's weights as a multiple of He's: :math:`\mathrm{Var}(W) / (2 / n)`, n the fan-in.

    Args:
        model: its linear and convolutional layers are watched, in the order in which it lists them.
        batch, generator: not used.

    Yields:
        A function of the step that gives `weight_variance_ratio` (L,).

    Reference: Sato & Kimura, Progressive Data Increasing (2019), figure 1.
    """
    weights = [module.weight.detach() for module in model.modules() if isinstance(module, LAYERS)]
    yield lambda step: {
        "weight_variance_ratio": np.array([float(one.var(correction=0)) * one[0].numel() / 2 for one in weights])
    }


@contextlib.contextmanager
def reconstructions(model, batch, generator, *, images: int = 6, size: int = 32):
    """What a variational auto-encoder makes of the first images of `batch`, and images that it draws.

    Args:
        model: see `models.resnet_vae`.
        batch: images, float (N, C, H, W) in [0, 1].
        generator: draws the latent numbers, the same at every step.
        images: how many.
        size: larger images are reduced to this height and width.

    Yields:
        A function of the step that gives `reconstructions`, uint8 (3, images, C, height, width): the images,
        their reconstructions, and samples.

    Raises:
        ValueError: the model draws no samples, or an option is less than 1.
    """
    if not hasattr(model, "sample"):
        raise ValueError("reconstructions: needs a variational auto-encoder, such as resnet_vae")
    if min(images, size) < 1:
        raise ValueError("reconstructions: images and size must be at least 1")
    originals, state = batch.images[:images].clone(), generator.get_state()

    def observe(step):
        generator.set_state(state)
        with _probe(model) as twin, torch.no_grad():
            twin.eval()
            rows = torch.stack([originals, twin(originals).images, twin.sample(len(originals), generator)])
        rows = functional.adaptive_avg_pool2d(rows.flatten(0, 1).float(), min(size, originals.shape[-1]))
        rows = rows.clamp(0, 1).mul(255).round().to(torch.uint8)
        return {"reconstructions": rows.unflatten(0, (3, len(originals))).cpu().numpy()}

    yield observe


@contextlib.contextmanager
def path(model, batch, generator):
    """Where a small model's parameters go.

    Args:
        model: of few parameters, since all are recorded each time.
        batch: not used.
        generator: not used.

    Yields:
        A function of the step that gives `position` (D,), all parameters in a row, and `path_length` (), the
        length of the way so far, as the sum of the distances between the steps at which it was called.
    """
    length = torch.zeros((), dtype=torch.float64)
    last = nn.utils.parameters_to_vector(model.parameters()).detach().clone()

    def observe(step):
        position = nn.utils.parameters_to_vector(model.parameters()).detach()
        length.add_(float((position - last).norm()))
        last.copy_(position)
        return {"position": position.cpu().numpy().copy(), "path_length": float(length)}

    observe.state = [length, last]
    yield observe


def _is_dropout(module):
    return isinstance(module, nn.Dropout) or hasattr(module, "generators")


@contextlib.contextmanager
def _probe(model):
    """Give a copy of the model to look through, and leave the random numbers as they were."""
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices):
        twin = copy.deepcopy(model)
        twin.zero_grad()
        for module in twin.modules():
            if hasattr(module, "all_at_once"):  # a layer whose neurons take turns
                module.all_at_once()
        yield twin


def _outputs(model, kinds, images, propagate=None, keep=lambda module, output: output):
    """Run `images` through the model; return what is kept of its modules of these kinds, in call order, and its output.

    With `propagate`, a function of the model's output that runs the backward pass, the outputs hold their gradients.
    """
    outputs = []

    def look(module, inputs, output):
        if propagate is not None:
            output.retain_grad()
        outputs.append(keep(module, output))
        return output.clone() if propagate is not None else None  # a non-linearity may work in place

    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(look)
    result = model(images)
    if propagate is not None:
        propagate(result)
    return outputs, result


def _stack(layers):
    """Turn a sequence of {name: value} into {name: array with the sequence as its first axis}."""
    layers = list(layers)
    return {name: np.array([layer[name] for layer in layers]) for name in layers[0]}
