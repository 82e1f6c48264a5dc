"""Goodinit: replications of five works on initializing and stabilizing the training of neural networks.

Three methods can be used in any PyTorch training loop: `lsuv`, `progressive`, and, with torch.optim.SGD,
`semi_synchronous`. They are imported on first use, because they import torch and `import goodinit` does not.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goodinit.methods.curricula.sampler import progressive
    from goodinit.methods.initializers.public import lsuv
    from goodinit.methods.semi_synchronous import semi_synchronous

__all__ = ["__version__", "lsuv", "progressive", "semi_synchronous"]

__version__ = "0.2.0"

_MODULES = {
    "lsuv": "goodinit.methods.initializers.public",
    "progressive": "goodinit.methods.curricula.sampler",
    "semi_synchronous": "goodinit.methods.semi_synchronous",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
