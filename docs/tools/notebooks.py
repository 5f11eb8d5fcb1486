"""The notebooks: ``python docs/tools/notebooks.py`` executes them in place; the site shows them as pages."""

from __future__ import annotations

import base64
import html
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "notebooks"


def page_of(path: Path) -> str:
    """Return a notebook as Markdown: its text, its code, and what the code gave."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(_cell(cell) for cell in cells) + "\n"


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    outputs = "\n\n".join(filter(None, (_output(each) for each in cell["outputs"])))
    return f"```python\n{source}\n```\n\n{outputs}"


def _output(output: dict[str, Any]) -> str:
    """Return an output: the richest form of those it has."""
    if output["output_type"] == "stream":
        return _text("".join(output["text"]))
    data = output.get("data", {})
    forms = {kind: "".join(lines) for kind, lines in data.items() if isinstance(lines, str | list)}
    if "image/svg+xml" in forms:
        encoded = base64.b64encode(forms["image/svg+xml"].encode()).decode()
        return f'<img alt="output" src="data:image/svg+xml;base64,{encoded}">'
    if "image/png" in forms:
        return f'<img alt="output" src="data:image/png;base64,{forms["image/png"].strip()}">'
    if "text/html" in forms:
        return f'<div class="nb-out">\n{forms["text/html"]}\n</div>'
    return _text(forms.get("text/plain", ""))


def _text(text: str) -> str:
    """Return printed text as it is, which looks unlike the code above it and has no button to copy it."""
    return f'<pre class="nb-out">{html.escape(text.rstrip())}</pre>' if text.strip() else ""


def execute(path: Path, folder: Path) -> Any:
    """Return a notebook with the outputs of running it in `folder`.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises an error.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":
            cell.outputs = [_anywhere(each, folder) for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


def _anywhere(output: Any, folder: Path) -> Any:
    """Return an output without the folders of the machine that it was made on."""
    import nbformat

    text = json.dumps(output, ensure_ascii=False)
    for path in (folder, FOLDER.parents[1]):
        text = text.replace(f"{path}/", "")
    return nbformat.from_dict(json.loads(text))


def main() -> None:
    """Execute those that are named, or all, each in a folder of its own, and write them back."""
    import tempfile

    import nbformat

    for path in [FOLDER / name for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(path, Path(folder)), path)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
