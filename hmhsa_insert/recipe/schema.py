"""The words of recipe version 1 and their meaning: the checks and the JSON Schema are made from these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

VERSION: Final = 1

OpName = Literal["insert", "replace", "remove"]
Kind = Literal["stage", "stride", "downsample", "module", "class", "node"]
Init = Literal["identity", "random"]
Position = Literal["after", "before"]
Keep = Literal["blocks", "none"]


@dataclass(frozen=True)
class OpRule:
    """What one operation means and takes.

    Attributes:
        meaning: one sentence for the user.
        kinds: the selector kinds it takes.
        has_block: whether it puts a block in.
        options: the edit keys that only it knows.
    """

    meaning: str
    kinds: tuple[Kind, ...]
    has_block: bool
    options: tuple[str, ...] = ()


OPS: Final[dict[OpName, OpRule]] = {
    "insert": OpRule(
        "put a block after or before each site; what is there stays",
        ("stage", "stride", "module", "class", "node"),
        has_block=True,
        options=("init", "position"),
    ),
    "replace": OpRule(
        "put a block in place of each site",
        ("downsample", "module", "class", "node"),
        has_block=True,
        options=("keep",),
    ),
    "remove": OpRule("take each site away, where shapes allow", ("module", "class", "node"), has_block=False),
}

RECIPE_KEYS: Final = {
    "version": "The version of the recipe language: 1.",
    "name": "A short name for tables and folders; the file's name if left out.",
    "description": "What the recipe is for, in prose.",
    "edits": "The edits, resolved together on the original model; at one site they act in this order.",
}
RECIPE_REQUIRED: Final = ("version", "edits")

EDIT_KEYS: Final = {
    "op": "What to do: " + "; ".join(f"{op}: {rule.meaning}" for op, rule in OPS.items()) + ".",
    "id": "The edit's name, unique within the recipe; the new child module at each site is called by it.",
    "at": "Where: exactly one kind of place, and what narrows it.",
    "block": "The block to put in: its type and that type's options.",
    "init": "insert only. identity (default): the network computes exactly what it did, until training moves "
    "the block's gamma from 0. random: the block acts at once.",
    "position": "insert only. after (default) or before the site.",
    "keep": "replace with a downsample only. none (default): the whole region between the stages is replaced "
    "and its weights are lost. blocks: the host's blocks stay, their strides become 1, the new block goes "
    "before them.",
}
EDIT_REQUIRED: Final = ("op", "id", "at")

KINDS: Final[dict[Kind, str]] = {
    "stage": "Stage number, a list of them, or all (every stage from 1 on). Stage k is the run of feature "
    "maps at stride 2^(k+1), measured; 0 is a stem at stride 2.",
    "stride": "The same by cumulative stride, such as 16: a number or a list of them.",
    "downsample": "The way into stage k, 1 or more: a number or a list of them.",
    "module": "A glob over qualified module names, or a list of them: * and ? stay within one part, [12] is "
    "one of these characters, ** is any number of parts.",
    "class": "A class name, or a list of them: the last part of a dotted name counts, and only the class "
    "itself, not its subclasses.",
    "node": "The name of an fx node of the traced model, or a list of them; for experts.",
}

NARROWING: Final[dict[str, tuple[str, tuple[Kind, ...]]]] = {
    "block": (
        "Which blocks of each stage: last (default), first, each, {every: k} (the k-th, 2k-th, …), or "
        "indices from 0, negative ones from the end.",
        ("stage", "stride"),
    ),
    "exclude": ("A glob over qualified names, or a list of them, to leave out.", tuple(KINDS)),
    "expect": ("How many sites must match; if left out, at least one.", tuple(KINDS)),
    "in_stage": ("Keep only modules inside this stage, or these stages.", ("module", "class")),
    "with": (
        "Keep only modules whose attributes have these values. A single value also equals a tuple that "
        "repeats it (kernel_size: 3 is 3×3); a list equals a tuple item by item.",
        ("module", "class"),
    ),
}

BLOCK_CHOICES: Final[tuple[Literal["last", "first", "each"], ...]] = ("last", "first", "each")
MOST_STAGE: Final = 7

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
