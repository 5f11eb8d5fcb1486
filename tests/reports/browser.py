"""Run a script on a page in headless chromium."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Skipped by `make test` where there is none; `make test-browser` sets BROWSER_TESTS, and then its lack is a failure.
needs_browser = pytest.mark.skipif(
    not BROWSER and "BROWSER_TESTS" not in os.environ, reason="needs chromium: see `make test-browser`"
)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=5000")


# No window is as narrow as a phone, but a frame is.
FRAME = """<html><body><script>
addEventListener("message", (said) => {
  document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: said.data }));
});
</script><iframe src="page.html" style="width: WIDTHpx; height: 1000px; border: 0"></iframe></body></html>"""


def in_browser(text: str, script: str, folder: Path) -> str:
    """Return the document after a browser ran `script` on it."""
    file = folder / "page.html"
    file.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return _opened(file)


def found_in_browser(text: str, script: str, folder: Path, width: int) -> Any:
    """Return the data that `script` leaves in the variable ``found`` of a page that is `width` pixels wide."""
    script = f"let found; {script}; parent.postMessage(JSON.stringify(found), '*');"
    script = f"<script>addEventListener('load', () => {{ {script} }});</script></body>"
    (folder / "page.html").write_text(text.replace("</body>", script), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    match = re.search(r'<pre id="found">(.*?)</pre>', _opened(folder / "frame.html"), re.DOTALL)
    assert match, "the script did not come to its end"
    return json.loads(html.unescape(match[1]))


def _opened(file: Path) -> str:
    assert BROWSER, "there is no chromium or google-chrome: apt-get install chromium"
    place = (f"--user-data-dir={file.parent / 'profile'}", "--window-size=1400,1000", file.as_uri())
    done = subprocess.run([BROWSER, *FLAGS, *place], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout
