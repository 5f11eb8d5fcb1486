"""The edited network as one ``torch.fx.GraphModule``, for those who need a graph.

It is traced only as deep as the edits lie: every module without an edit stays one call, so that BatchNorm,
dropout and everything else that differs in training keep their behavior and their keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from hmhsa_insert.errors import PlanError, Problem, first_line
from hmhsa_insert.surgery.base.fake import notes
from hmhsa_insert.surgery.base.load import SOURCE, ModelSource
from hmhsa_insert.surgery.edit.splice import ledgers, set_ledgers
from hmhsa_insert.surgery.sites.site import Plan

_TIP = "use backend tree, which leaves every forward as it is written"


class _EditTracer(fx.Tracer):
    """Traces into the modules that hold an edit, and into no others."""

    def __init__(self, edited: set[str]) -> None:
        super().__init__()
        self._edited = edited

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self._edited


def as_graph_module(model: nn.Module, made: Plan, source: ModelSource | None) -> fx.GraphModule:
    """Return an edited `model` as a ``GraphModule`` with the same keys; inserted blocks are separate nodes.

    Args:
        model: the network, edited in place.
        made: the plan that was carried out on it.
        source: how its base network is built, which cannot be found from a GraphModule afterwards.

    Raises:
        PlanError: a forward on the way to an edit cannot be traced, or does different things in train and eval mode.
    """
    edited = {"", *(part for site in made.sites for part in _ancestors(site.qualname))}
    modes = {module: module.training for module in model.modules()}
    graphs = []
    try:
        for training in (True, False):
            for name in edited:
                model.get_submodule(name).training = training
            graphs.append(_trace(model, edited))
    finally:
        for part, training in modes.items():  # not train(): parts may be frozen in another mode
            part.training = training
    in_training, in_eval = graphs
    if _follow_mode(in_training, in_eval, type(model).__name__):
        model.add_module(_MODE, _Mode())
    module = fx.GraphModule(model, in_eval, class_name=type(model).__name__)
    _keep_all(model, module)
    if source is not None:
        notes(module)[SOURCE] = source
    set_ledgers(module, ledgers(model))
    ledgers(module)[-1].backend = "graph"
    module.training = model.training
    for name, part in module.named_modules():
        if name == _MODE:
            part.training = model.training
    return module


class _Mode(nn.Module):
    """Gives a graph its training mode; a traced ``self.training`` would be a constant."""

    def forward(self) -> bool:
        """Return the mode that ``train()`` and ``eval()`` set."""
        return self.training


_MODE = "mode_of_graph"


def _follow_mode(in_training: fx.Graph, in_eval: fx.Graph, where: str) -> bool:
    """Make `in_eval` read the mode wherever the graphs differ in ``training``; return True if they do."""
    # Both traces must have the same operations: only arguments may differ, and only by the mode.
    pairs = list(zip(in_training.nodes, in_eval.nodes, strict=False))
    alike = len(in_training.nodes) == len(in_eval.nodes) and all(
        (a.op, a.target, a.name) == (b.op, b.target, b.name) for a, b in pairs
    )
    differing = [(a, b) for a, b in pairs if repr((a.args, a.kwargs)) != repr((b.args, b.kwargs))]
    if not alike or any(not _differ_in_mode((a.args, a.kwargs), (b.args, b.kwargs)) for a, b in differing):
        message = (
            "its forward does different things in train and eval mode, and one graph holds only one of them"
        )
        raise PlanError(Problem(where, message, _TIP))
    if not differing:
        return False
    first = next(iter(node for node in in_eval.nodes if node.op != "placeholder"))
    with in_eval.inserting_before(first):
        mode = in_eval.create_node("call_module", _MODE)
    for trained, node in differing:
        node.args = _with_mode(trained.args, node.args, mode)
        node.kwargs = _with_mode(trained.kwargs, node.kwargs, mode)
    return True


def _differ_in_mode(trained: Any, evaluated: Any) -> bool:
    """Return True if two arguments are equal except for values that are True in training, False in eval."""
    if isinstance(evaluated, Mapping):
        return trained.keys() == evaluated.keys() and all(
            _differ_in_mode(trained[k], evaluated[k]) for k in trained
        )
    if isinstance(evaluated, list | tuple):
        return len(trained) == len(evaluated) and all(map(_differ_in_mode, trained, evaluated))
    return (trained is True and evaluated is False) or repr(trained) == repr(evaluated)


def _with_mode(trained: Any, evaluated: Any, mode: fx.Node) -> Any:
    if isinstance(evaluated, Mapping):
        return {key: _with_mode(trained[key], item, mode) for key, item in evaluated.items()}
    if isinstance(evaluated, list | tuple):
        items = (_with_mode(a, b, mode) for a, b in zip(trained, evaluated, strict=True))
        return type(evaluated)(items)
    return mode if trained is True and evaluated is False else evaluated


def _trace(model: nn.Module, edited: set[str]) -> fx.Graph:
    try:
        return _EditTracer(edited).trace(model)
    except Exception as error:
        reason = first_line(error)
        message = f"torch.fx cannot trace it as one graph: {reason}"
        raise PlanError(Problem(type(model).__name__, message, _TIP)) from error


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _keep_all(model: nn.Module, module: fx.GraphModule) -> None:
    """Add the modules that the graph does not call, such as auxiliary heads, so that all keys stay."""
    held: dict[str, Any] = module.state_dict()
    for name, child in model.named_modules(remove_duplicate=False):
        keys = [f"{name}.{key}" for key in child.state_dict()] if name else []
        if keys and not any(key in held for key in keys):
            module.add_submodule(name, child)
            held.update(dict.fromkeys(keys))
