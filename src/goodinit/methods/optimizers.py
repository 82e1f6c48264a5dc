r"""Optimizers, each written from its published update rule.

All take named parameters, :math:`\theta`, whose gradients are g.  With `weight_decay`, :math:`\lambda`, the
gradient of every parameter called `weight` is :math:`g + \lambda \theta`, which is that of a loss with
:math:`\lambda \lVert W \rVert^2 / 2` added; biases do not decay.
"""

import math

import torch

from goodinit.methods.parameter_groups import parameter_groups

__all__ = ["adagrad", "adam", "momentum", "nesterov", "rmsprop", "sgd"]


def sgd(parameters, *, lr: float, weight_decay: float = 0.0, layer_factors: dict[str, float] | None = None):
    r"""Stochastic gradient descent: :math:`\theta \leftarrow \theta - \mathrm{lr}\, g`.

    Args:
        parameters: pairs of name and parameter, as `model.named_parameters()` gives them.
        lr: learning rate, more than 0.
        weight_decay: at least 0.
        layer_factors: how many times the learning rate each of these modules gets, see `parameter_groups`; None for 1.

    Raises:
        ValueError: an option is out of its range, or there is no module of a name in `layer_factors`.

    Reference: Robbins & Monro, A stochastic approximation method (1951).
    """
    return _SGD(parameters, lr=lr, weight_decay=weight_decay, layer_factors=layer_factors)


def momentum(
    parameters,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    bias_factor: float = 1.0,
    layer_factors: dict[str, float] | None = None,
):
    r"""Heavy ball: :math:`v \leftarrow m v - \mathrm{lr}\, g`, :math:`\theta \leftarrow \theta + v`.

    The learning rate is inside the velocity, so one that falls does not slow down what is moving already.

    Args:
        parameters, lr, weight_decay, layer_factors: as in `sgd`.
        momentum: m, at least 0 and less than 1.
        clip_norm: before decay, scale the gradient of all parameters together to at most this Euclidean norm.
        bias_factor: how many times the learning rate every parameter gets that is not called `weight`, more than 0;
            2 in Caffe's models of ImageNet.  It multiplies the factor of the layer.

    Raises:
        ValueError: as in `sgd`.

    Reference: Polyak, Some methods of speeding up the convergence of iteration methods (1964); Saito,
        Deep Learning from Scratch (2016), equations 6.3 and 6.4.
    """
    more = {"clip_norm": clip_norm, "bias_factor": bias_factor, "layer_factors": layer_factors}
    return _Momentum(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, **more)


def nesterov(
    parameters,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    layer_factors: dict[str, float] | None = None,
):
    r"""Nesterov's momentum.

    .. math:: v \leftarrow m v - \mathrm{lr}\, g, \qquad \theta \leftarrow \theta + m v - \mathrm{lr}\, g

    Args:
        parameters, lr, momentum, weight_decay, layer_factors: as in `momentum`.

    Raises:
        ValueError: as in `sgd`.

    Reference: Bengio, Boulanger-Lewandowski & Pascanu, Advances in optimizing recurrent networks (2012),
        equation 7.
    """
    more = {"momentum": momentum, "weight_decay": weight_decay, "layer_factors": layer_factors}
    return _Nesterov(parameters, lr=lr, **more)


def adagrad(
    parameters,
    *,
    lr: float,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    layer_factors: dict[str, float] | None = None,
):
    r"""AdaGrad: a learning rate for each parameter, which falls with what it has moved.

    .. math:: h \leftarrow h + g^2, \qquad \theta \leftarrow \theta - \mathrm{lr}\, g / (\sqrt h + \epsilon)

    Args:
        parameters, lr, weight_decay, layer_factors: as in `sgd`.
        epsilon: more than 0.

    Raises:
        ValueError: as in `sgd`.

    Reference: Duchi, Hazan & Singer, Adaptive subgradient methods (2011); Saito (2016), equations 6.5 and 6.6.
    """
    more = {"weight_decay": weight_decay, "layer_factors": layer_factors}
    return _Adagrad(parameters, lr=lr, epsilon=epsilon, **more)


def rmsprop(
    parameters,
    *,
    lr: float,
    decay: float = 0.99,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    decay_biases: bool = False,
    layer_factors: dict[str, float] | None = None,
):
    r"""RMSProp: :math:`h \leftarrow d h + (1 - d) g^2`, then as AdaGrad.

    Args:
        parameters, lr, epsilon, weight_decay, layer_factors: as in `adagrad`.
        decay: d, at least 0 and less than 1.
        decay_biases: whether weight decay is for all parameters.

    Raises:
        ValueError: as in `sgd`.

    Reference: Tieleman & Hinton, Lecture 6.5 of Neural Networks for Machine Learning (2012).
    """
    more = {"weight_decay": weight_decay, "decay_biases": decay_biases, "layer_factors": layer_factors}
    return _RMSprop(parameters, lr=lr, decay=decay, epsilon=epsilon, **more)


def adam(
    parameters,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    layer_factors: dict[str, float] | None = None,
):
    r"""Adam in its shorter form, with both corrections in the learning rate.

    .. math::
        m &\leftarrow m + (1 - \beta_1)(g - m), \qquad v \leftarrow v + (1 - \beta_2)(g^2 - v) \\
        \theta &\leftarrow \theta - \mathrm{lr} \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \frac{m}{\sqrt v + \epsilon}

    Deviation: `epsilon` is added to the uncorrected root, as at the end of the paper's section 2 and in the
    textbook's code; Algorithm 1, and torch, add it to the corrected one.

    Args:
        parameters, lr, epsilon, weight_decay, layer_factors: as in `adagrad`.
        beta1, beta2: at least 0 and less than 1.

    Raises:
        ValueError: as in `sgd`.

    Reference: Kingma & Ba, Adam: a method for stochastic optimization (2015), section 2.
    """
    more = {"weight_decay": weight_decay, "layer_factors": layer_factors}
    return _Adam(parameters, lr=lr, beta1=beta1, beta2=beta2, epsilon=epsilon, **more)


class _Optimizer(torch.optim.Optimizer):
    """Decay, and a rule `move` over the parameters that have a gradient, with so many tensors of state each.

    A rule that is linear in the gradients also takes sparse ones, of some rows alone; decay is then of those rows.
    """

    slots = 0
    linear = False

    def __init__(
        self, parameters, *, weight_decay, layer_factors, decay_biases=False, clip_norm=None, bias_factor=1.0, **options
    ):
        name = type(self).__name__.removeprefix("_").lower()
        if clip_norm is not None and clip_norm <= 0:
            raise ValueError(f"{name}: clip_norm must be more than 0, not {clip_norm}")
        for option, value in (options | {"weight_decay": weight_decay, "bias_factor": bias_factor}).items():
            if option in ("lr", "epsilon", "bias_factor"):
                allowed, words = value > 0, "more than 0"
            elif option == "weight_decay":
                allowed, words = value >= 0, "at least 0"
            else:
                allowed, words = 0 <= value < 1, "at least 0 and less than 1"
            if not allowed:
                raise ValueError(f"{name}: {option} must be {words}, not {value}")
        factors = {"bias_factor": bias_factor, "layer_factors": layer_factors}
        decay = {"weight_decay": weight_decay, "decay_biases": decay_biases}
        groups = parameter_groups(name, list(parameters), lr=options["lr"], **factors, **decay)
        self.clip_norm = clip_norm
        super().__init__(groups, options | {"step": 0})

    @torch.no_grad()
    def step(self, closure=None):
        if self.clip_norm is not None:
            every = [parameter for group in self.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(every, self.clip_norm)
        for group in self.param_groups:
            parameters = [one for one in group["params"] if one.grad is not None]
            gradients = [one.grad for one in parameters]
            if not parameters:
                continue
            if group["weight_decay"]:
                gradients = _decayed(gradients, parameters, group["weight_decay"])
            group["step"] += 1
            slots = [[self._slot(one, slot) for one in parameters] for slot in range(self.slots)]
            self.move(group, parameters, gradients, *slots)

    def _slot(self, parameter, slot):
        if slot not in self.state[parameter]:
            self.state[parameter][slot] = torch.zeros_like(parameter)
        return self.state[parameter][slot]


class _SGD(_Optimizer):
    linear = True

    def move(self, group, parameters, gradients):
        torch._foreach_add_(parameters, gradients, alpha=-group["lr"])


class _Momentum(_Optimizer):
    slots = 1
    linear = True

    def move(self, group, parameters, gradients, velocities):
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, gradients, alpha=-group["lr"])
        torch._foreach_add_(parameters, velocities)


class _Nesterov(_Optimizer):
    slots = 1
    linear = True

    def move(self, group, parameters, gradients, velocities):
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, gradients, alpha=-group["lr"])
        torch._foreach_add_(parameters, velocities, alpha=group["momentum"])
        torch._foreach_add_(parameters, gradients, alpha=-group["lr"])


class _Adagrad(_Optimizer):
    slots = 1

    def move(self, group, parameters, gradients, squares):
        torch._foreach_addcmul_(squares, gradients, gradients)
        _move_by_root(parameters, gradients, squares, group["lr"], group["epsilon"])


class _RMSprop(_Optimizer):
    slots = 1

    def move(self, group, parameters, gradients, squares):
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["decay"])
        _move_by_root(parameters, gradients, squares, group["lr"], group["epsilon"])


class _Adam(_Optimizer):
    slots = 2

    def move(self, group, parameters, gradients, means, squares):
        torch._foreach_lerp_(means, gradients, 1 - group["beta1"])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - group["beta2"])
        correction = math.sqrt(1 - group["beta2"] ** group["step"]) / (1 - group["beta1"] ** group["step"])
        _move_by_root(parameters, means, squares, group["lr"] * correction, group["epsilon"])


def _decayed(gradients, parameters, decay):
    if not any(gradient.is_sparse for gradient in gradients):
        return torch._foreach_add(gradients, parameters, alpha=decay)
    return [
        _decayed_rows(gradient.coalesce(), parameter, decay)
        if gradient.is_sparse
        else gradient.add(parameter, alpha=decay)
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]


def _decayed_rows(gradient, parameter, decay):
    values = gradient.values().add(parameter[gradient.indices()[0]], alpha=decay)
    return torch.sparse_coo_tensor(gradient.indices(), values, gradient.shape, check_invariants=False)


def _move_by_root(parameters, directions, squares, lr, epsilon):
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, epsilon)
    torch._foreach_addcdiv_(parameters, directions, roots, value=-lr)
