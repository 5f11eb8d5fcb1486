"""A row of the table of other libraries' blocks: which class it is, and how it is told what it is made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from hmhsa_insert.blocks.base import MapSize, Options
from hmhsa_insert.errors import BlockError, Problem

Layout = Literal["NCHW", "NHWC", "tokens", "tokens (H, W)", "tokens H W", "NCHW with offsets"]

APACHE = "Apache-2.0"
MIT = "Apache-2.0, adapted from code under MIT"
APPLE = "Apache-2.0, adapted from code under Apple's licence"


@dataclass(frozen=True, eq=False)
class Row:
    """One class of another library as a block type.

    Attributes:
        name: what recipes write after the library's prefix.
        path: ``module:class``; imported when the block is used.
        title: what it is, in a few words.
        paper: its arXiv number, or its address.
        layout: what the class takes and returns: a map N×C×H×W or N×H×W×C, or N×HW×C tokens, alone or with the size;
            "with offsets", a convolution of the map makes them.
        licence: of the code, as its file and its library say.
        channels: the parameters of the constructor that are C.
        size: the parameter that is (H, W); empty if it takes none.
        tokens: the parameter that is H·W; empty if it takes none.
        heads: the parameter that is the number of attention heads; the option is `head_dim`.
        head: the parameter that is the channels of one head, of the constructor or what `derived` makes for it; the
            option is `head_dim`.
        fixed: arguments that make the class this block.
        options: options that the constructor requires, or whose defaults are ours.
        derived: further arguments, from the options and the map.
        sized: whether it is made for one H×W beyond what the fields above say: True, or the option that makes it so.
        resizes: whether it runs at other sizes all the same.
        multiple: the option that must divide H and W; empty if any map will do.
        residual: whether the class itself adds its input; only its branch is scaled then.
        wakes: whether its last norms start at zero, to begin as the identity. They are set to one: behind the γ of an
            insertion, which is zero as well, neither would ever get a gradient.
    """

    name: str
    path: str
    title: str
    paper: str
    layout: Layout = "NCHW"
    licence: str = APACHE
    channels: tuple[str, ...] = ("dim",)
    size: str = ""
    tokens: str = ""
    heads: str = ""
    head: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    derived: Callable[[Any, MapSize], Mapping[str, Any]] = lambda options, inp: {}
    sized: bool | str = False
    resizes: bool = False
    multiple: str = ""
    residual: bool = False
    wakes: bool = False

    @property
    def library(self) -> str:
        """The package that the class is in, which is the prefix of the type."""
        return self.path.partition(".")[0]

    @property
    def type(self) -> str:
        """What recipes write as ``type``."""
        return f"{self.library}/{self.name}"

    @property
    def about(self) -> tuple[tuple[str, str], ...]:
        """What there is to tell of it, each with its name."""
        paper = self.paper if "/" in self.paper else f"https://arxiv.org/abs/{self.paper}"
        return (("paper", paper), ("licence", self.licence), ("class", self.path), ("layout", self.layout))

    @property
    def has_heads(self) -> bool:
        """Whether it has the option `head_dim`."""
        return bool(self.heads or self.head)

    def needs_size(self, options: Options) -> bool:
        """Return True if the block is made for one H×W with these options, or refuses some."""
        return bool(self._is_told(options) or self.multiple)

    def one_size(self, options: Options) -> bool:
        """Return True if the block runs at no other H×W than the one that it is made for."""
        return self._is_told(options) and not self.resizes

    def _is_told(self, options: Options) -> bool:
        sized = getattr(options, self.sized) if isinstance(self.sized, str) else self.sized
        return bool(sized or self.size or self.tokens)


def found(path: str, block: str = "") -> Any:
    """Import the object at ``module:name``.

    Raises:
        BlockError: the installed version of the library does not have it; the message names `block`.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        library = module.partition(".")[0]
        of = f", which the block '{block}' is" if block else ""
        message = f"{installed(library)} has no {name} in {module}{of}"
        raise BlockError(Problem("type", message, f"another version of {library} has it")) from error


def installed(library: str) -> str:
    """Return name and version of an installed library."""
    return f"{library} {import_module(library).__version__}"
