"""Dropout that scales its outputs in evaluation mode instead of training mode."""

import torch
from torch import Tensor, nn

from goodinit.transfer import to_device

__all__ = ["Dropout"]


class Dropout(nn.Module):
    r"""Dropout as originally published: outputs are not scaled in training mode, but in evaluation mode.

    With the probability :math:`p` of keeping an output, and a mask m drawn for each output of each example,

    .. math::
        \hat y = m \circ y, \quad m \sim \mathrm{Bernoulli}(p) \quad \text{in training}, \qquad
        \hat y = p\, y \quad \text{in evaluation}

    so that the output in evaluation mode is the expected output in training mode. This also holds for `nn.Dropout`,
    "inverted" dropout, which divides by p in training mode and is the identity in evaluation mode. Its outputs are
    1 / p times as large in both modes; with the same initial weights and learning rate, it trains differently.

    Each layer draws its masks on the CPU from its own generator; the seed is drawn when the layer is constructed.

    Args:
        ratio: :math:`1 - p`, the probability of dropping an output; at least 0 and less than 1.

    Reference: Srivastava et al., Dropout (2014), section 4; Hori, Sekiya & Takenaka (2019), equations 3 and 4; Saito,
        Deep Learning from Scratch (2016), section 6.4.3, and `common/layers.py`.
    """

    stackable = True

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        seed = int(torch.randint(2**62, (), device="cpu"))
        self.generators = [torch.Generator().manual_seed(seed)]  # one for each model of a stack

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs, (N, features) or (S, N, features), masked or scaled."""
        if not self.training:
            return inputs * (1 - self.ratio)
        shape = inputs.shape[-2:]
        uniform = [torch.rand(shape, generator=generator, device="cpu") for generator in self.generators]
        return inputs * to_device((torch.stack(uniform) > self.ratio).view(inputs.shape), inputs.device)

    def get_extra_state(self) -> list[Tensor]:
        """Return the states of the generators."""
        return [generator.get_state() for generator in self.generators]

    def set_extra_state(self, states: list[Tensor]) -> None:
        """Restore the states of the generators."""
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)
