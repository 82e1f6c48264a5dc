"""LSUV for any model and data."""

from typing import Any, Literal

import torch
from torch import nn
from torch.utils._pytree import tree_map

from goodinit.errors import InputError
from goodinit.methods.initializers.inputs import ACCEPTED, arguments
from goodinit.methods.initializers.preserved import data_state
from goodinit.methods.initializers.report import LSUVReport
from goodinit.methods.initializers.unit_variance import Options, unit_variance

__all__ = ["lsuv"]

ALLOWED = {"start": ("orthonormal", "lecun_normal"), "measure": ("before", "after"), "decomposition": ("qr", "svd")}


def lsuv(
    model: nn.Module,
    data: Any,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    start: Literal["orthonormal", "lecun_normal"] = "orthonormal",
    tolerance: float = 0.05,
    max_iterations: int = 100,
    dropout: bool = True,
    measure: Literal["before", "after"] = "before",
    decomposition: Literal["qr", "svd"] = "qr",
    include_frozen: bool = False,
    examples: int = 32,
) -> LSUVReport:
    r"""Initialize a model in place with LSUV: orthonormal weights, the output of each layer scaled to unit variance.

    In the order of the forward pass, the weight of each linear and convolutional layer is divided by the standard
    deviation of its output on the data, over examples, channels and space together, until
    :math:`|\mathrm{Var} - 1| \le \mathrm{tolerance}`.  Biases are set to 0.  The model runs once, without
    gradients; with `measure="after"` twice, first to see what follows each layer.

    The model's device and dtype are kept, and its training modes, buffers and hooks, and the global random states are
    afterwards what they were; after an error, too, but then weights may be initialized in part.  A submodule in
    evaluation mode within a model in training mode, such as a frozen batch normalization, stays so.

    What is left alone, and what cannot be scaled, has a row with the reason in the report: frozen parameters, layers
    that the forward pass does not call (the `out_proj` of `nn.MultiheadAttention` is among them), weights that are
    computed and cannot be set (`spectral_norm`, `orthogonal`, pruning; `weight_norm` can), layers that share a weight
    with an embedding, and modules of other kinds, such as recurrent ones.  A weight that several layers share, or that
    is used several times, is scaled for its first use.

    A model that `torch.compile` or `nn.DataParallel` wraps is initialized within; one that is scripted, sharded or
    wrapped in `DistributedDataParallel` is refused, and is to be initialized before.

    Deviation: every trial measures on the same examples, all of them; Algorithm 1 takes a new mini-batch.  Two examples
    do in the paper's Table 7.

    Args:
        model: any module that contains linear or convolutional layers.
        data: inputs as in training, normalized to a variance of about 1: a tensor; a tuple of the positional arguments
            that the model's `forward` requires, where one element more is taken as labels and left out; a dict of
            keyword arguments; or a `DataLoader` of such batches.  A dict without the name of the only argument that is
            required is that argument itself.  Memory is needed for one forward pass of all of it.
        seed: of the weights, of dropout, and of the order of a DataLoader.  Without it and `generator` they follow from
            the state of torch's default generator, which does not advance.
        generator: instead of a seed; it advances.
        start: what the weights are filled with before they are scaled; `lecun_normal` is the paper's Gaussian.
        tolerance: of the variance, more than 0.
        max_iterations: the most rescalings of a layer, at least 1.
        dropout: run the model in training mode, where dropout is on and batch normalization uses the batch, as the
            authors' program does; otherwise in evaluation mode.
        measure: the output as the layer gives it, or after the non-linearity, any module or function, that it goes
            straight into; if there is none, as it is.
        decomposition: how orthonormal weights are computed; see `initializers.orthonormal`.
        include_frozen: initialize parameters that require no gradient, too.
        examples: how many to take from a `DataLoader`, in whole batches.

    Returns:
        A row for each layer: name, shape, standard deviations before and after scaling, rescalings, and a note.  It
        prints as a table.

    Raises:
        ValueError: the data are not of a form above or do not fit the model, an option is out of its range, no layer
            can be initialized, or a layer's output is constant or not finite.  It is one line.

    Example:
        >>> import torch
        >>> from goodinit import lsuv
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> report = lsuv(model, torch.randn(64, 8), seed=0)
        >>> [row.name for row in report.scaled]
        ['0', '2']

    Reference: Mishkin & Matas, All you need is a good init (2016), Algorithm 1.
    """
    model = _unwrapped(model)
    if seed is not None and generator is not None:
        raise InputError("lsuv: give either seed or generator, not both")
    for name, value in (("start", start), ("measure", measure), ("decomposition", decomposition)):
        if value not in ALLOWED[name]:
            raise InputError(f"lsuv: {name} must be {' or '.join(ALLOWED[name])}, not {value!r}")
    if generator is None:
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state()) if seed is None else generator.manual_seed(seed)
    options = Options(
        start=start,
        tolerance=tolerance,
        max_iterations=max_iterations,
        dropout=dropout,
        measure=measure,
        decomposition=decomposition,
        include_frozen=include_frozen,
    )
    with data_state(data, seed):
        args, kwargs = arguments(model, data, examples)

    def run() -> None:
        own_args, own_kwargs = tree_map(_copied, (args, kwargs))
        try:
            model(*own_args, **own_kwargs)
        except InputError:
            raise
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"lsuv: {type(model).__name__} does not run on this data: {type(error).__name__}: {error}; "
                f"data must be {ACCEPTED}"
            ) from error

    return unit_variance(model, generator, options, run, run)


def _copied(leaf: Any) -> Any:
    """Return a copy of a tensor: the model may change its inputs."""
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the model within `torch.compile` and `nn.DataParallel`.

    Raises:
        InputError: it is no module.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"lsuv: model must be a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, nn.DataParallel):
        return _unwrapped(model.module)
    return _unwrapped(model._orig_mod) if "_orig_mod" in model._modules else model
