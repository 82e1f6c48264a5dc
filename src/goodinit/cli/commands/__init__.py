"""The subcommands of `goodinit`: functions of the parsed options, which import torch and pandas only when called."""
