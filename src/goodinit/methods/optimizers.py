r"""Optimizers, each implemented from its published update rule.

All have the signature `(named parameters, *, lr, options)` and return an `update_rules.Optimizer`. The parameters are
:math:`\theta`, their gradients g. With `weight_decay` :math:`\lambda`, the gradient of every
parameter called `weight` is :math:`g + \lambda \theta`, the gradient of the loss plus
:math:`\lambda \lVert W \rVert^2 / 2`; biases do not decay.
"""

from goodinit.methods import update_rules
from goodinit.methods.contracts import NamedParameters

__all__ = ["adagrad", "adam", "momentum", "nesterov", "rmsprop", "sgd"]


def sgd(
    parameters: NamedParameters,
    *,
    lr: float,
    weight_decay: float = 0.0,
    layer_factors: dict[str, float] | None = None,
) -> update_rules.SGD:
    r"""Stochastic gradient descent: :math:`\theta \leftarrow \theta - \mathrm{lr}\, g`.

    Args:
        parameters: pairs of name and parameter, as `model.named_parameters()` yields them.
        lr: learning rate, more than 0.
        weight_decay: at least 0.
        layer_factors: factors of the learning rate by module, see `parameter_groups`; None for 1 everywhere.

    Raises:
        ValueError: an option is out of its range, or a key of `layer_factors` is not the name of a module.

    Reference: Robbins & Monro, A stochastic approximation method (1951).
    """
    return update_rules.SGD(parameters, lr=lr, weight_decay=weight_decay, layer_factors=layer_factors)


def momentum(
    parameters: NamedParameters,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    bias_factor: float = 1.0,
    layer_factors: dict[str, float] | None = None,
) -> update_rules.Momentum:
    r"""Heavy ball: :math:`v \leftarrow m v - \mathrm{lr}\, g`, :math:`\theta \leftarrow \theta + v`.

    The velocity includes the learning rate, so a decrease of the learning rate does not change the current velocity.

    Args:
        parameters, lr, weight_decay, layer_factors: as in `sgd`.
        momentum: m, at least 0 and less than 1.
        clip_norm: largest Euclidean norm, before weight decay, of the gradient of all parameters together, which is
            scaled down to it; None for no clipping.
        bias_factor: factor of the learning rate of all parameters that are not called `weight`, more than 0; 2 in the
            ImageNet models of Caffe. It multiplies the factor of the layer.

    Raises:
        ValueError: as in `sgd`.

    Reference: Polyak, Some methods of speeding up the convergence of iteration methods (1964); Saito,
        Deep Learning from Scratch (2016), equations 6.3 and 6.4.
    """
    return update_rules.Momentum(
        parameters,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        bias_factor=bias_factor,
        layer_factors=layer_factors,
    )


def nesterov(
    parameters: NamedParameters,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    layer_factors: dict[str, float] | None = None,
) -> update_rules.Nesterov:
    r"""Nesterov's momentum.

    .. math:: v \leftarrow m v - \mathrm{lr}\, g, \qquad \theta \leftarrow \theta + m v - \mathrm{lr}\, g

    Args:
        parameters, lr, momentum, weight_decay, layer_factors: as in `momentum`.

    Raises:
        ValueError: as in `sgd`.

    Reference: Bengio, Boulanger-Lewandowski & Pascanu, Advances in optimizing recurrent networks (2012),
        equation 7.
    """
    return update_rules.Nesterov(
        parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, layer_factors=layer_factors
    )


def adagrad(
    parameters: NamedParameters,
    *,
    lr: float,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    layer_factors: dict[str, float] | None = None,
) -> update_rules.Adagrad:
    r"""AdaGrad: a learning rate for each parameter that decreases with its accumulated squared gradients.

    .. math:: h \leftarrow h + g^2, \qquad \theta \leftarrow \theta - \mathrm{lr}\, g / (\sqrt h + \epsilon)

    Args:
        parameters, lr, weight_decay, layer_factors: as in `sgd`.
        epsilon: more than 0.

    Raises:
        ValueError: as in `sgd`.

    Reference: Duchi, Hazan & Singer, Adaptive subgradient methods (2011); Saito (2016), equations 6.5 and 6.6.
    """
    return update_rules.Adagrad(
        parameters, lr=lr, epsilon=epsilon, weight_decay=weight_decay, layer_factors=layer_factors
    )


def rmsprop(
    parameters: NamedParameters,
    *,
    lr: float,
    decay: float = 0.99,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    decay_biases: bool = False,
    layer_factors: dict[str, float] | None = None,
) -> update_rules.RMSprop:
    r"""RMSProp: :math:`h \leftarrow d h + (1 - d) g^2`, then the update of AdaGrad.

    Args:
        parameters, lr, epsilon, weight_decay, layer_factors: as in `adagrad`.
        decay: d, at least 0 and less than 1.
        decay_biases: whether weight decay applies to all parameters.

    Raises:
        ValueError: as in `sgd`.

    Reference: Tieleman & Hinton, Lecture 6.5 of Neural Networks for Machine Learning (2012).
    """
    return update_rules.RMSprop(
        parameters,
        lr=lr,
        decay=decay,
        epsilon=epsilon,
        weight_decay=weight_decay,
        decay_biases=decay_biases,
        layer_factors=layer_factors,
    )


def adam(
    parameters: NamedParameters,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    layer_factors: dict[str, float] | None = None,
) -> update_rules.Adam:
    r"""Adam, with both bias corrections in the learning rate.

    .. math::
        m &\leftarrow m + (1 - \beta_1)(g - m), \qquad v \leftarrow v + (1 - \beta_2)(g^2 - v) \\
        \theta &\leftarrow \theta - \mathrm{lr} \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \frac{m}{\sqrt v + \epsilon}

    Deviation: `epsilon` is added to the uncorrected root, as at the end of section 2 of the paper and in the code of
    the textbook; Algorithm 1 and torch add it to the corrected root.

    Args:
        parameters, lr, epsilon, weight_decay, layer_factors: as in `adagrad`.
        beta1, beta2: at least 0 and less than 1.

    Raises:
        ValueError: as in `sgd`.

    Reference: Kingma & Ba, Adam: a method for stochastic optimization (2015), section 2.
    """
    return update_rules.Adam(
        parameters,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
        layer_factors=layer_factors,
    )
