"""Draw the picture of the idea: ``python docs/tools/idea.py`` writes ``docs/idea.svg``.

A CNN's stages, where a block goes in, and what H-MHSA does there: attention inside the cells of a grid, then between
the cells. Colors follow the reader's light or dark mode.
"""

from __future__ import annotations

from pathlib import Path

OUT = Path(__file__).parents[1] / "idea.svg"
WIDTH, HEIGHT = 860, 330
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; text-anchor: middle }
  .head { font-weight: 600; font-size: 14px }
  .note { fill: #57606a; font-size: 12px }
  .map { fill: #dbe7f5; stroke: #5b7fa8 }
  .new { fill: #f6c177; stroke: #a9660a }
  .token { fill: #eef3f8; stroke: #9db4cc; stroke-width: .7 }
  .cell { fill: none; stroke: #5b7fa8; stroke-width: 2 }
  .look { stroke: #d0661b; stroke-width: 1.6; fill: none; marker-end: url(#tip) }
  .flow { stroke: #57606a; stroke-width: 1.5; fill: none; marker-end: url(#end) }
  .tip { fill: #d0661b } .end { fill: #57606a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9da7b3 }
    .map { fill: #1f3450; stroke: #7ea6d3 } .new { fill: #8a5310; stroke: #f0b35c }
    .token { fill: #17212d; stroke: #48617d } .cell { stroke: #7ea6d3 }
    .look { stroke: #f0883e } .flow { stroke: #9da7b3 } .tip { fill: #f0883e } .end { fill: #9da7b3 }
  }
"""
TOP, MAP = 182.0, 104.0  # of the maps in the lower row


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return words centered at x."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{words}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Return a rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" class="{kind}"/>'


def line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    """Return an arrow."""
    return f'<path d="M{x:g} {y:g}L{to_x:g} {to_y:g}" class="{kind}"/>'


def network() -> list[str]:
    """Return the row of stages, and the block at the end of stage 3."""
    drawn = [text(WIDTH / 2, 20, "your network, found by tracing it: its classes and weights stay", "head")]
    stages = (
        ("stage 1", "1/4", 92),
        ("stage 2", "1/8", 76),
        ("stage 3", "1/16", 60),
        ("stage 4", "1/32", 44),
    )
    x, middle = 120.0, 84.0
    drawn += [text(62, middle + 4, "image"), line(86, middle, x - 6, middle, "flow")]
    for name, scale, height in stages:
        drawn += [
            *(rect(x + 7 * i, middle - height / 2, 58, height, "map") for i in range(3)),
            text(x + 43, middle - 4, name),
            text(x + 43, middle + 13, scale, "note"),
        ]
        x += 78
        if name == "stage 3":
            drawn += [
                line(x, middle, x + 26, middle, "flow"),
                rect(x + 30, middle - 30, 74, 60, "new"),
                text(x + 67, middle - 2, "H-MHSA"),
                text(x + 67, middle + 14, "inserted", "note"),
            ]
            drawn.append(f'<path d="M{x + 67:g} {middle + 34:g}V152" class="flow"/>')
            x += 104
        drawn.append(line(x, middle, x + 26, middle, "flow"))
        x += 32
    return [*drawn, text(x + 26, middle + 4, "output")]


def grid(left: float, top: float, side: float, count: int, group: int) -> list[str]:
    """Return a map of count × count tokens with the borders of its cells."""
    step, cells = side / count, range(0, count, group)
    tokens = [
        rect(left + i * step, top + j * step, step, step, "token") for i in range(count) for j in range(count)
    ]
    size = step * group
    return tokens + [rect(left + i * step, top + j * step, size, size, "cell") for i in cells for j in cells]


def step_of(center: float, title: str, *notes: str) -> list[str]:
    """Return the title above a step of H-MHSA and the notes below it."""
    below = [text(center, TOP + MAP + 22 + 16 * row, note, "note") for row, note in enumerate(notes)]
    return [text(center, TOP - 14, title, "head"), *below]


def looks(x: float, y: float, *ends: tuple[float, float]) -> list[str]:
    """Return arrows from one token to others, which are given by their distance."""
    return [line(x, y, x + right, y + down, "look") for right, down in ends]


def attention() -> list[str]:
    """Return the two steps of H-MHSA, and their sum."""
    inside, between, whole, middle = 140.0, WIDTH / 2, WIDTH - 140.0, TOP + MAP / 2
    drawn = step_of(inside, "1 · attention inside each cell", "near context, few pairs")
    drawn += step_of(between, "2 · attention between cells", "far context, still few pairs")
    drawn += step_of(
        whole,
        "each position sees the whole map",
        "y = x + γ·f(x): γ = 0 at the start,",
        "so no output changes",
    )
    drawn += grid(inside - MAP / 2, TOP, MAP, 8, 4)
    token, cell = MAP / 8, MAP / 2
    for corner in ((0, 0), (cell, 0), (0, cell), (cell, cell)):
        x, y = (inside - MAP / 2 + corner[0] + token / 2, TOP + corner[1] + token / 2)
        drawn += looks(x, y, (2.8 * token, 0), (2.8 * token, 2.8 * token), (0, 2.8 * token))
    small = 76.0
    drawn += grid(between - small / 2, middle - small / 2, small, 2, 1)
    reach = small * 0.46
    drawn += looks(between - small / 4, middle - small / 4, (reach, 0), (reach, reach), (0, reach))
    drawn += grid(whole - MAP / 2, TOP, MAP, 8, 8)
    for left, right, what in ((inside + 62, between - 48, "pool cells"), (between + 48, whole - 62, "add")):
        drawn += [
            line(left, middle, right, middle, "flow"),
            text((left + right) / 2, middle - 8, what, "note"),
        ]
    return drawn


def main() -> None:
    """Write the picture."""
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0L6 3L0 6z" class="{name}"/></marker>'
        for name in ("tip", "end")
    )
    alt = "A CNN with an H-MHSA block after stage 3: attention inside grid cells, then between cells."
    body = "\n".join([*network(), *attention()])
    OUT.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{alt}">\n'
        f"<style>{STYLE}</style>\n<defs>{markers}</defs>\n{body}\n</svg>\n",
        encoding="utf-8",
    )
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
