"""Models that cannot be edited as they are: wrappers hide the module tree, lazy parameters have no shape.

A wrapper may be the model or any module in it. What runs inside a compiled child is compiled code, which neither a
trace nor a hook sees; a child sharded or replicated over processes answers only where all of them take part.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from hmhsa_insert.errors import ModelError, Problem

# Name of a torch class -> what to do instead.
_WRAPPERS = {
    "DistributedDataParallel": "apply the recipe to the inner model (`.module`) and wrap the result",
    "FullyShardedDataParallel": "apply the recipe before sharding",
    "FSDPModule": "apply the recipe before sharding",
    "DataParallel": "apply the recipe to the inner model (`.module`) and wrap the result",
    "OptimizedModule": "apply the recipe to the original model and compile the result",
}
_COMPILED = "it was compiled in place, by its compile()"


def refuse_wrapped(model: nn.Module) -> None:
    """Raise ModelError for a model that is, or holds, a wrapper that hides the module tree.

    A scripted module inside a model is traced as one operation.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(Problem("ScriptModule", "a scripted model cannot be edited", "use the Python model"))
    for name, module in model.named_modules():
        own = (cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("torch."))
        kind = next((known for known in own if known in _WRAPPERS), None)
        if kind is not None:
            advice = _WRAPPERS[kind]
            if name:
                advice = advice.replace("the inner model", "the network with the inner module")
                advice = advice.replace("the original model", "the network with the original module")
            message = "this is a wrapper, not a network that can be edited"
            raise ModelError(Problem(f"{name} ({kind})" if name else kind, message, advice))
        if getattr(module, "_compiled_call_impl", None) is not None:
            where = name or type(module).__name__
            raise ModelError(Problem(where, _COMPILED, "apply the recipe first and compile the result"))


def eagerly() -> AbstractContextManager[object]:
    """Return a context in which compiled functions run uncompiled, so that fake tensors can go through."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and importing it is slow
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def refuse_lazy(model: nn.Module) -> None:
    """Raise ModelError for a model whose lazy parameters have no shape yet."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    lazy = next((name for name, tensor in tensors if is_lazy(tensor)), None)
    if lazy is not None:
        message = "it gets its shape in the first forward, which has not run"
        raise ModelError(Problem(lazy, message, "run the network once on an input"))
