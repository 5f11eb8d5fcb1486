"""A user's script sees types: mypy in its strict mode finds nothing that is Any."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """\
from pathlib import Path

import hmhsa_insert as hi

loaded = hi.load_model("test_resnet")
model = loaded.model
reveal_type(loaded.input_size)
reveal_type(hi.locate_stages(model, (3, 64, 64)))
reveal_type(hi.plan(model, "stage3.yaml", input_size=(3, 64, 64)))
edited = hi.apply(model, "stage3.yaml", input_size=(3, 64, 64))
reveal_type(edited)
reveal_type(hi.verify(model, edited, (3, 64, 64)))
reveal_type(hi.profile(edited, (3, 64, 64)))
reveal_type(hi.remove(edited))
reveal_type(hi.base_state_dict(edited))
reveal_type(hi.build_block({"type": "hmhsa", "head_dim": 8}, channels=64))
reveal_type(hi.save(edited, Path("edited")))
reveal_type(hi.load("edited"))
reveal_type(hi.export(edited, "net.pt2"))
reveal_type(hi.push(edited, "me/net"))
reveal_type(hi.detector("retinanet", edited, num_classes=3))
reveal_type(hi.load_weights(model, "weights.pth"))
reveal_type(hi.HubError("nothing").problems)
"""


@pytest.mark.long
def test_a_strict_script_sees_types(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "script.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    revealed = re.findall(r'note: Revealed type is "(.*)"', found.stdout)
    assert found.returncode == 0, found.stdout
    assert len(revealed) == SCRIPT.count("reveal_type")
    assert not [each for each in revealed if re.search(r"\bAny\b", each.split("[")[0])], revealed
