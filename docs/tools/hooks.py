"""What the site is made of besides docs/: MkDocs calls these functions (``hooks`` in mkdocs.yml).

Reference pages are made from the schemas, notebooks become pages, and pages link to files of the repository's root by
the same relative paths as on a code host: those are pages of the site, too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

TOOLS = Path(__file__).parent
ROOT = TOOLS.parents[1]
sys.path.insert(0, str(TOOLS))

from notebooks import page_of  # noqa: E402
from reference import PAGES  # noqa: E402

_OUTSIDE = (
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "reports/*.md",
    "reports/*.svg",
    "reports/*.png",
)
_FENCE_MARKS = re.compile(r"^```(\w+) (?!title=)[\w -]+$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and those of the repository's root."""
    for name, make in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page_of(path)))
    apart = InclusionLevel.NOT_IN_NAV
    for pattern in _OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(
                File.generated(
                    config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path), inclusion=apart
                )
            )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page with its links as the site has them, and without the marks of its code blocks."""
    uri = page.file.src_uri
    if (ROOT / "docs" / uri).is_file():
        out = "../" * (uri.count("/") + 1)
        markdown = markdown.replace(f"]({out}", f"]({out.removeprefix('../')}")
    markdown = re.sub(r"\]\(([\w./-]+)\.ipynb", r"](\1.md", markdown)
    return _FENCE_MARKS.sub(r"```\1", markdown)
