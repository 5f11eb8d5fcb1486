"""The exceptions of the package, and the description of one problem.

Every error that a user can cause derives from :class:`HmhsaInsertError` and carries a list of
:class:`Problem`, so that all problems of one input are reported together: where each is, what was found, and
what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.inert import visible


class Argument(str):
    """The name of an argument, as the place of a problem: ``weights``, or ``overrides lr=x`` with what was given.

    Commands show the option of this name. In messages and tips, arguments are written as in Python between backquotes,
    ``weights=FILE``, and commands show their options there, too: ``--weights FILE``.
    """

    __slots__ = ()


def mention(name: str, value: object) -> str:
    """Return how a message or a tip mentions an argument with a value."""
    return f"`{name}={value!r}`"


# Longest text that is quoted in a message, in characters: a key may be as long as its file.
_LONGEST = 2000


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input: where it is, what was found, and what to do about it.

    Control characters in the texts are escaped and long texts are cut, so that any terminal can show them.

    Args:
        where: the place, as ``file:line:column``, a qualified module name, a path or an :class:`Argument`; may be
            empty.
        message: what was found there, in one sentence.
        tip: the nearest valid names, or the command that shows the choices; may be empty.

    Example:
        >>> import hmhsa_insert as hi
        >>> print(hi.Problem("my.yaml:4:5", "there is no block type 'hmsa'", "did you mean 'hmhsa'?"))
        my.yaml:4:5: there is no block type 'hmsa' (did you mean 'hmhsa'?)
    """

    where: str
    message: str
    tip: str = ""

    def __post_init__(self) -> None:
        for name in ("where", "message", "tip"):
            text = getattr(self, name)
            kind = Argument if isinstance(text, Argument) else str
            object.__setattr__(self, name, kind(_shown(text)))

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} ({self.tip})" if self.tip else text


def _shown(text: str) -> str:
    cut = len(text) - _LONGEST
    return visible(text[:_LONGEST]) + (f"… and {cut:,} more characters" if cut > 0 else "")


class HmhsaInsertError(Exception):
    """The base class of every error that this package raises on purpose.

    Args:
        problems: one message, one :class:`Problem`, or all problems of one input. The attribute ``problems``
            is always a tuple of :class:`Problem`.

    Example:
        >>> import hmhsa_insert as hi
        >>> try:
        ...     hi.build_block({"type": "hmsa", "head_dim": 32}, channels=64)
        ... except hi.HmhsaInsertError as error:
        ...     print(error.problems[0].message)
        there is no block type 'hmsa'
    """

    title = "this cannot be done"

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem("", problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ArgumentError(HmhsaInsertError, TypeError):
    """An argument of a public function is of another type than the function takes; lists all of them.

    Example:
        >>> import hmhsa_insert as hi
        >>> try:
        ...     hi.locate_stages("resnet18")
        ... except hi.ArgumentError as error:
        ...     print(error.problems[0].message)
        a torch.nn.Module was expected, found 'resnet18'
    """

    title = "an argument cannot be used"


class RecipeError(HmhsaInsertError):
    """A recipe cannot be read: its YAML, its keys or its values are invalid.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> insert = {"op": "insert", "id": "attn", "at": {"stge": 3}, "block": {"type": "hmhsa"}}
        >>> try:
        ...     hi.plan(timm.create_model("test_resnet"), {"version": 1, "edits": [insert]})
        ... except hi.RecipeError as error:
        ...     print(error.problems[0].message)
        unknown key 'stge' in 'at'
    """

    title = "the recipe cannot be used"


class BlockError(HmhsaInsertError):
    """A block cannot be built with these options for this feature map.

    Example:
        >>> import hmhsa_insert as hi
        >>> try:
        ...     hi.build_block({"type": "hmhsa", "head_dim": 48}, channels=64, size=14)
        ... except hi.BlockError as error:
        ...     print(error.problems[0].message)
        head_dim 48 does not divide 64 channels; nearest that do: 32, 64
    """

    title = "the block cannot be built"


class ModelError(HmhsaInsertError):
    """A model cannot be found, built, traced or copied, or is wrapped so that it cannot be edited.

    Example:
        >>> import hmhsa_insert as hi
        >>> try:
        ...     hi.load_model("resnet19")
        ... except hi.ModelError as error:
        ...     print(error.problems[0].message)
        neither timm nor torchvision has a network of this name
    """

    title = "the model cannot be used"


class PlanError(HmhsaInsertError):
    """A recipe does not fit a model; lists every reason.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> insert = {"op": "insert", "id": "attn", "at": {"stage": 7}, "block": {"type": "hmhsa"}}
        >>> model = timm.create_model("test_resnet")
        >>> try:
        ...     hi.plan(model, {"version": 1, "edits": [insert]}, input_size=(3, 64, 64))
        ... except hi.PlanError as error:
        ...     print(error.problems[0].message)
        no stage 7: the network's stages are 0, 1, 2, 3, 4 (strides 2, 4, 8, 16, 32)
    """

    title = "the plan was refused"


class VerifyError(HmhsaInsertError):
    """An edited model did not pass a check; raised by ``hmhsa-insert apply``, which then writes nothing.

    ``hi.verify`` itself returns its checks and does not raise this.

    Example:
        >>> import hmhsa_insert as hi
        >>> print(hi.VerifyError(hi.Problem("eval outputs", "max |Δ| 1.2e-03", "nothing was written")))
        eval outputs: max |Δ| 1.2e-03 (nothing was written)
    """

    title = "verification failed"


class WeightsError(HmhsaInsertError):
    """A file of weights cannot be read, or does not fit the model.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> try:
        ...     hi.load_weights(timm.create_model("test_resnet"), "missing.safetensors")
        ... except hi.WeightsError as error:
        ...     print(error)
        missing.safetensors: there is no such file
    """

    title = "the weights cannot be loaded"


class ArtifactError(HmhsaInsertError):
    """The folder of an edited model (an artifact) cannot be written or read.

    Example:
        >>> import hmhsa_insert as hi
        >>> try:
        ...     hi.load("missing")
        ... except hi.ArtifactError as error:
        ...     print(error.problems[0].message)
        there is no such folder
    """

    title = "the artifact cannot be read or written"


class HubError(HmhsaInsertError):
    """A repository of the Hugging Face Hub cannot be read or written.

    Example:
        >>> import hmhsa_insert as hi
        >>> try:
        ...     hi.load("hf-hub:no user/name")
        ... except hi.HubError as error:
        ...     print(error.problems[0].message)
        this does not name a repository
    """

    title = "the Hub cannot be used"


class ExportError(HmhsaInsertError):
    """A network cannot be exported as asked, or the file that was made does not compute what the network does.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> try:
        ...     hi.export(timm.create_model("test_resnet"), "net.onx", to="onx")
        ... except hi.ExportError as error:
        ...     print(error.problems[0])
        to: there is no format 'onx' (did you mean 'onnx'?)
    """

    title = "the network cannot be exported"


def within(file: Path | str, error: HmhsaInsertError) -> list[Problem]:
    """Return the problems of an error with `file` in front of each place that is not an argument."""
    return [
        problem
        if isinstance(problem.where, Argument)
        else Problem(f"{file}: {problem.where}".rstrip(": "), problem.message, problem.tip)
        for problem in error.problems
    ]


def near(name: str, choices: Iterable[str], most: int = 3) -> str:
    """Return ``"did you mean 'a' or 'b'?"`` with the closest of `choices`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=most, cutoff=0.5)
    return f"did you mean {listed(close)}?" if close else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def listed(names: Sequence[str]) -> str:
    """Return the names quoted and joined: ``'a', 'b' or 'c'``."""
    quoted = [f"'{name}'" for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)
