"""The words of recipe version 1 that are not a selector's: operations, and names that no edit may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

VERSION: Final = 1

OpName = Literal["insert", "replace", "remove"]
Init = Literal["identity", "random"]
Position = Literal["after", "before"]
Keep = Literal["none", "blocks"]


@dataclass(frozen=True)
class OpRule:
    """What one operation means and takes; the kinds of selectors say by themselves which operations take them.

    Attributes:
        meaning: one sentence for the user.
        has_block: whether it puts a block in.
        options: the edit keys that only it knows.
    """

    meaning: str
    has_block: bool
    options: tuple[str, ...] = ()


OPS: Final[dict[OpName, OpRule]] = {
    "insert": OpRule(
        "put a block after or before each site; what is there stays",
        has_block=True,
        options=("init", "position"),
    ),
    "replace": OpRule("put a block in place of each site", has_block=True, options=("keep",)),
    "remove": OpRule("take each site away, where shapes allow", has_block=False),
}

# Public names that every torch module (or most of them) already has: a child of that name would hide them.
# Names with a leading underscore are refused by their form.
_MODULE_NAMES = """
    T_destination add_module apply bfloat16 bias buffers call_super_init children compile cpu cuda device
    double dtype dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia name named_buffers named_children named_modules
    named_parameters parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type weight xpu
    zero_grad
"""
RESERVED_IDS: Final = frozenset(_MODULE_NAMES.split())
