"""Damage to files, from a seed: at the level of text, and at the level of what the text says."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

# A module of this name lies in the folder that cases run in, and leaves a mark when it is imported.
EVIL = "fuzz_evil"

# What a stranger writes where something else is expected.
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        255,
        16384,
        30000,
        10**6,
        8 * 10**6,
        2**31,
        2**53,
        2**63,
        2**64,
        10**30,
    ),
    *(0.5, -0.0, 1e-9, 1e6, 1e308, -1e308, float("inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "0",
        "-1",
        "25M",
        "null",
        "true",
        ".",
        "..",
        "../../x",
        "/etc/passwd",
        "a/b",
        "a.b.c",
        "~",
    ),
    *(
        "x" * 3000,
        "é",
        "\u202e",
        "\ud800",
        "\x00",
        "\x1b]0;x\x07\x1b[2J",
        "a\nb",
        "=1+1",
        "<b>",
        "[l](http://x)",
    ),
    *(
        f"{EVIL}:factory",
        f"{EVIL}.factory",
        "os:getcwd",
        "timm/resnet18",
        "timm/nothing",
        "test_resnet",
        "digits",
    ),
    *([], {}, [[]], [{}], [None], [0], [1, 2, 3], ["a"], {"a": 1}, {"": {}}, [0] * 2000, {"edits": []}),
)
# What is put into a text: words of YAML and JSON that mean something, and bytes that are no text.
TOKENS = (
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\x1b[31m",
        b"\t",
        b"\r",
        b"\n",
        b"\n\n---\n",
        b"...",
    ),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b": ",
        b"- ",
        b'"',
        b"'",
        b"#",
        b"|",
        b">",
        b"%",
        b"@",
        b"`",
        b"\\",
    ),
    *(
        b"&a ",
        b"*a",
        b"&a [*a, *a]",
        b"<<: *a",
        b"!!python/object/apply:os.system [id]",
        b"!!binary x",
        b"!!set",
        b"? ",
    ),
    *(
        b"null",
        b"true",
        b"yes",
        b"~",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"0x10",
        b"1_000",
        b"2024-13-45",
        b"-",
        b"--",
    ),
    *(b'"\\ud800"', b'"\\u0000"', b"\\u", b'"\\x1b[2J"', b"9" * 5000, b"-" + b"1" * 400, b"1." + b"3" * 400),
    *(b"[" * 50, b"[" * 20000, b'{"a":' * 300, b"{" * 3000, b"a: " * 200, b"x" * 20000),
)

TextChange = Callable[[random.Random, bytes], bytes]


def _place(rng: random.Random, text: bytes) -> int:
    return rng.randrange(len(text) + 1)


def _span(rng: random.Random, text: bytes) -> tuple[int, int]:
    start = _place(rng, text)
    return start, min(len(text), start + rng.choice((1, 2, 5, 20, 200)))


def _flip(rng: random.Random, text: bytes) -> bytes:
    changed = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _insert(rng: random.Random, text: bytes) -> bytes:
    place = _place(rng, text)
    return text[:place] + rng.choice(TOKENS) + text[place:]


def _overwrite(rng: random.Random, text: bytes) -> bytes:
    start, end = _span(rng, text)
    return text[:start] + rng.choice(TOKENS) + text[end:]


def _delete(rng: random.Random, text: bytes) -> bytes:
    start, end = _span(rng, text)
    return text[:start] + text[end:]


def _repeat(rng: random.Random, text: bytes) -> bytes:
    start, end = _span(rng, text)
    return text[:end] + text[start:end] * rng.choice((1, 2, 50)) + text[end:]


def _cut(rng: random.Random, text: bytes) -> bytes:
    return text[: _place(rng, text)]


def _swap_lines(rng: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


TEXT_CHANGES: tuple[TextChange, ...] = (
    _flip,
    _insert,
    _insert,
    _overwrite,
    _delete,
    _repeat,
    _cut,
    _swap_lines,
)


def mutated_text(rng: random.Random, text: bytes) -> bytes:
    """Return a text with one to four changes that know nothing of what it says."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        text = rng.choice(TEXT_CHANGES)(rng, text)
    return text


def mutated_values(rng: random.Random, value: Any) -> Any:
    """Return plain values with one to three places changed: other values, other keys, more or less of them."""
    holder = {"root": copy.deepcopy(value)}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(rng, *rng.choice(_places(holder)))
    return holder["root"]


def _places(root: Any) -> list[tuple[Any, Any]]:
    """Return every place of plain values as its holder and key."""
    found, waiting = [], [root]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each))
        found += [(each, key) for key in keys]
        waiting += [each[key] for key in keys if isinstance(each[key], dict | list)]
    return found


def _change(rng: random.Random, holder: Any, key: Any) -> None:
    how = rng.randrange(10)
    if how < 5 or key == "root":
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    elif how == 5:
        del holder[key]
    elif how == 6 and isinstance(holder, dict):
        holder[str(rng.choice(VALUES))] = holder.pop(key)
    elif how == 7 and isinstance(holder, dict):
        holder[str(rng.choice(VALUES))[:50]] = copy.deepcopy(rng.choice(VALUES))
    elif how == 8:
        deep: Any = holder[key]
        for _ in range(rng.choice((1, 1, 30, 90))):
            deep = [deep]
        holder[key] = deep
    elif isinstance(holder, list):
        holder += [copy.deepcopy(holder[key]) for _ in range(rng.choice((1, 1, 300)))]
    elif isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = rng.choice((-1, 0, 10, 1000, 10**6, 10**12)) * holder[key]
