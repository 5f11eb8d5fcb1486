"""The one reader of YAML: text to plain values with the place of every key and value.

PyYAML's parser is used as far as its node tree, which has positions; no constructor takes part, so that no
tag can build an object or run code. Values are made here, by the rules of :mod:`hmhsa_insert.recipe.scalars`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.files.text import CONFIG, RECIPE, FileLimits, read_file
from hmhsa_insert.recipe.marks import UNREADABLE, Document, Findings, KeyPath, Mark, Marks
from hmhsa_insert.recipe.scalars import INT, MAP, RESOLVERS, SEQ, STR, problem_of, scalar_of, shown, tag_name

# The beginning of PyYAML's reason, what to say instead, the tip.
_SYNTAX = (
    ("found character '\\t'", "a tab stands where YAML wants spaces", "indent with spaces"),
    (
        "mapping values are not allowed here",
        "a ': ' stands where no key can begin",
        "check the indentation and the space after ':' above; quote a value that holds ': '",
    ),
    (
        "expected <block end>",
        "this line does not continue what is above it",
        "check the indentation, and that items of one list all begin with '- '",
    ),
    ("could not find expected ':'", "this key has no ':' after it", "write 'key: value'"),
)


def read_yaml(path: Path, error: type[HmhsaInsertError], limits: FileLimits = CONFIG, tip: str = "") -> Any:
    """Return the plain values of a YAML file that this package wrote, in the words of YAML 1.2; None if it is empty.

    Args:
        path: of the file.
        error: is raised for a file that cannot be used.
        limits: how large and how deep it may be.
        tip: what to do about a file that cannot be opened.

    Raises:
        HmhsaInsertError: an `error` with all its problems and their places.
    """
    document = read_text(read_file(path, error, limits, tip), str(path), limits)
    if problems := document.findings.problems():
        raise error(problems)
    return document.value


def read_text(text: str, source: str, limits: FileLimits = RECIPE) -> Document:
    """Read YAML `text` and mark every place in it; problems go to the document's findings. No text is None."""
    places: dict[KeyPath, Mark | None] = {(): Mark(1, 1, 1, 1)}
    marks = Marks(source, places)
    findings = Findings(marks)
    value: Any = UNREADABLE
    loader: Any = None
    try:
        loader = _Loader(text, limits)
        node = loader.get_node() if loader.check_node() else None
        value = _Values(findings, places, limits).of(node, (), node) if node is not None else None
        if loader.check_node():
            line, column = _place(loader.get_event().start_mark)
            findings.add_at(line, column, "a second document starts here, and a file is one document")
    except yaml.YAMLError as error:
        _add_syntax_error(findings, text, error)
    except _RefusedError as error:
        findings.add_at(error.line, error.column, error.message)
    except (ValueError, OverflowError):
        # PyYAML hands every number after \\U to chr(), which refuses those beyond Unicode.
        findings.add_at(loader.line + 1, loader.column + 1, "this escape names no character")
    return Document(value, marks, findings)


class _RefusedError(Exception):
    """Valid YAML that no file of ours needs."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """Text to nodes; without a constructor, and with YAML 1.2's words."""

    def __init__(self, text: str, limits: FileLimits) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._limits = limits
        self._level = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._nodes += 1
        if self._level > self._limits.levels:
            # Deeper nesting would end in Python's RecursionError, in PyYAML or in ours.
            self._refuse(f"values are nested more than {self._limits.levels} deep")
        if self._nodes > 2 * self._limits.values:  # a key is a node too
            self._refuse(f"the file holds more than {self._limits.values:,} values")
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        return node

    def _refuse(self, message: str) -> None:
        raise _RefusedError(message, *_place(cast(Any, self).peek_event().start_mark))


for _tag, _pattern, _first in RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


class _Values:
    """Turns one node tree into plain values, following aliases up to a limit."""

    def __init__(self, findings: Findings, places: dict[KeyPath, Mark | None], limits: FileLimits) -> None:
        self._findings = findings
        self._places = places
        self._most = limits.values
        self._odd_names = limits.odd_names
        self._key_tags = {STR, INT} if limits.number_keys else {STR}
        self._open: set[int] = set()

    def of(self, node: yaml.Node, path: KeyPath, key: yaml.Node) -> Any:
        """Return the value of `node` and note its place; UNREADABLE if it has none."""
        self._places[path] = Mark(*_place(node.start_mark), *_place(key.start_mark))
        if len(self._places) > self._most:
            # Placed at the top key: inside an alias, the node's own place would be its anchor's.
            place = self._findings.marks.order(path[:1], key=True)
            raise _RefusedError(
                f"the file holds more than {self._most:,} values, its aliases followed", *place
            )
        if id(node) in self._open:
            return self._refuse(path, "this alias holds itself")
        if isinstance(node, yaml.ScalarNode):
            value, problem = scalar_of(node.tag, node.value, self._odd_names)
            return self._refuse(path, problem) if problem else value
        if node.tag != (SEQ if isinstance(node, yaml.SequenceNode) else MAP):
            return self._refuse(
                path, f"the tag {tag_name(node.tag)} is not allowed: only plain values are read"
            )
        self._open.add(id(node))
        value = (
            self._sequence(node, path) if isinstance(node, yaml.SequenceNode) else self._mapping(node, path)
        )
        self._open.discard(id(node))
        return value

    def _refuse(self, path: KeyPath, message: str) -> Any:
        self._findings.add(path, message)
        return UNREADABLE

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> list[Any]:
        return [self.of(item, (*path, index), item) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        for key, item in node.value:
            line, column = _place(key.start_mark)
            name = self._key(key, path)
            if name is None:
                continue
            if name in first_lines:
                lines = f"lines {first_lines[name]} and {line}"
                if first_lines[name] == line:
                    lines = f"line {line}"
                message = f"the key {shown(name)} is given twice, on {lines}"
                self._findings.add_at(line, column, message, "keep one of them", path=(*path, name))
                continue
            first_lines[name] = line
            values[name] = self.of(item, (*path, name), key)
        return values

    def _key(self, key: yaml.Node, path: KeyPath) -> str | None:
        line, column = _place(key.start_mark)
        if not isinstance(key, yaml.ScalarNode) or key.tag not in self._key_tags:
            found = key.value if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
            self._findings.add_at(line, column, f"a key must be a word, found {found}", path=path)
            return None
        problem = "" if self._odd_names else problem_of(key.value)
        if problem:
            self._findings.add_at(line, column, f"a key must be a word: {problem}", path=path)
            return None
        if key.value == "<<" and key.style is None:
            message = "the merge key '<<' is not read: it is not part of YAML 1.2"
            self._findings.add_at(line, column, message, "repeat the keys, or alias a whole value", path=path)
            return None
        return str(key.value)


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _add_syntax_error(findings: Findings, text: str, error: yaml.YAMLError) -> None:
    if isinstance(error, yaml.MarkedYAMLError):
        line, column = _place(error.problem_mark or error.context_mark)
        message, tip = _explain(error)
        findings.add_at(line, column, message, tip)
    elif isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        findings.add_at(line, column, message)
    else:
        findings.add((), f"this is not valid YAML: {error}")


def _explain(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    reason, context = error.problem or "unknown", error.context or ""
    if context.startswith("found duplicate anchor"):
        # PyYAML words this one the other way round: the reason is in the context.
        return f"this is not valid YAML: {context.partition(';')[0]}", "give each anchor its own name"
    for beginning, message, tip in _SYNTAX:
        if reason.startswith(beginning):
            return message, tip
    if context and error.context_mark:
        line, column = _place(error.context_mark)
        reason += f", {context} that begins at line {line}, column {column}"
    return f"this is not valid YAML: {reason}", ""
