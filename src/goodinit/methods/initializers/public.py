"""LSUV for any PyTorch model and data."""

import dataclasses
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._pytree import tree_map

from goodinit.errors import InputError, is_out_of_memory
from goodinit.methods.arguments import as_generator, positive_number, random_seed, unwrap, whole_number
from goodinit.methods.initializers.call_arguments import ACCEPTED, call_arguments, mismatch_hint
from goodinit.methods.initializers.preserve import preserve_data_state
from goodinit.methods.initializers.report import LSUVReport
from goodinit.methods.initializers.unit_variance import Options, unit_variance

__all__ = ["lsuv"]

CHOICES = {
    "start": ("orthonormal", "lecun_normal"),
    "dropout": (True, False),
    "measure": ("before", "after"),
    "decomposition": ("qr", "svd"),
    "include_frozen": (True, False),
}


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
    r"""Initialize a model in place with layer-sequential unit-variance (LSUV) initialization.

    All linear and convolutional layers get orthonormal weights and zero biases. Then, in the order of the forward pass,
    each weight is divided by the standard deviation of the layer's output on the data, over all examples, channels and
    positions, until :math:`|\mathrm{Var} - 1| \le \mathrm{tolerance}`. The model runs once, without gradients; with
    `measure="after"` it runs twice, first to find the non-linearity that follows each layer.

    The device and dtype of the model do not change. Training modes, buffers, hooks and the global random states of the
    CPU and of CUDA are restored, also after an error; after an error, some weights may already be initialized.
    Submodules in evaluation mode within a model in training mode, such as frozen batch normalization, stay in
    evaluation mode.

    The following are not scaled; the report has a row with the reason for each:

    - frozen parameters, unless `include_frozen` is true;
    - layers that the forward pass does not call, such as the `out_proj` of `nn.MultiheadAttention`;
    - computed weights that cannot be set (`spectral_norm`, `orthogonal`, pruning); `weight_norm` is supported;
    - layers that share a weight with another module, such as an embedding;
    - modules of other types, such as recurrent ones.

    A weight that several layers share, or a layer that is called several times, is scaled at its first use.

    A model wrapped in `torch.compile` or `nn.DataParallel` is unwrapped first. A scripted or sharded model, or one
    wrapped in `DistributedDataParallel`, raises an error: initialize it before.

    Deviation: all iterations measure the output on all examples, while Algorithm 1 draws a new mini-batch for each. In
    Table 7 of the paper, two examples are sufficient.

    Args:
        model: any module that contains linear or convolutional layers.
        data: inputs as in training, normalized to a variance of about 1. One of: a tensor; a tuple with the positional
            arguments of the model's `forward`, where one element after those that it requires, if any, or after all of
            them, is ignored as labels, with a note in the report if `forward` would take it; a dict with its arguments,
            also optional ones; a `DataLoader` with such batches. If `forward` requires one argument, a dict without its
            name is passed as this argument. The examples should represent the whole data set: a DataLoader with a
            sampler of `progressive` yields those of a small subset. The memory must suffice for one forward pass of all
            examples.
        seed: determines the weights, dropout and the order of a DataLoader that has no generator. If neither `seed` nor
            `generator` is given, a seed is drawn from torch's default generator, which advances.
        generator: a torch.Generator instead of `seed`; it advances. It does not determine the order of a DataLoader.
        start: weights before scaling; `lecun_normal` is the Gaussian initialization of the paper.
        tolerance: largest deviation of the variance from 1, more than 0.
        max_iterations: maximum number of rescalings of a layer, at least 1.
        dropout: run the model in training mode, with dropout and the batch statistics of batch normalization, as the
            authors' program does; otherwise in evaluation mode.
        measure: measure the output of the layer (`before`), or of the non-linearity, a module or a function, that takes
            it directly (`after`); if there is none, the output of the layer.
        decomposition: algorithm for orthonormal weights, see `initializers.orthonormal`.
        include_frozen: also initialize parameters that do not require a gradient.
        examples: minimum number of examples, at least 1, to take from a `DataLoader`; whole batches are taken. If the
            tensors of a batch differ in length, such as tokens and offsets, only the first batch is taken.

    Returns:
        A report with a row for each layer: name, shape of the weight, standard deviation of the output before and after
        scaling, number of rescalings, and a note. `print(report)` prints a table.

    Raises:
        ValueError: `data` has none of these forms or does not fit the model, an option is out of range, no layer can be
            initialized, or the output of a layer is constant or not finite. The message is one line.

    Example:
        >>> import torch
        >>> from goodinit import lsuv
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> report = lsuv(model, torch.randn(64, 8), seed=0)
        >>> [row.name for row in report.scaled]
        ['0', '2']

    Reference: Mishkin & Matas, All you need is a good init (2016), Algorithm 1.
    """
    model = unwrap("lsuv", model, nn.DataParallel)
    values = (start, dropout, measure, decomposition, include_frozen)
    for (name, choices), value in zip(CHOICES.items(), values, strict=True):
        if value not in choices:
            raise InputError(f"lsuv: {name} must be {' or '.join(map(str, choices))}, not {value!r}")
    examples = whole_number("lsuv: examples", examples, 1)
    if generator is None:
        seed = random_seed("lsuv: seed", torch.randint(2**62, (), device="cpu") if seed is None else seed)
    generator = as_generator("lsuv", seed, generator)
    options = Options(
        start=start,
        tolerance=positive_number("lsuv: tolerance", tolerance),
        max_iterations=whole_number("lsuv: max_iterations", max_iterations, 1),
        dropout=dropout,
        measure=measure,
        decomposition=decomposition,
        include_frozen=include_frozen,
    )
    with preserve_data_state(data, seed):
        args, kwargs, note = call_arguments(model, data, examples)

    def run() -> None:
        copied_args, copied_kwargs = tree_map(_copy, (args, kwargs))
        try:
            model(*copied_args, **copied_kwargs)
        except InputError:
            raise
        except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise InputError(
                f"lsuv: {type(model).__name__} cannot process this data: {type(error).__name__}: {error}; "
                f"{mismatch_hint(model, args) or f'data must be {ACCEPTED}'}"
            ) from error

    return dataclasses.replace(unit_variance(model, generator, options, run, run), note=note)


def _copy(leaf: Any) -> Any:
    """Return a copy of a tensor, because the model may modify its inputs in place."""
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf
