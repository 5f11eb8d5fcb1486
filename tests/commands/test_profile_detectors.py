from __future__ import annotations

import json
from pathlib import Path

from command_line import error_of, run

import hmhsa_insert as hi


def test_the_command_tells_networks_recipes_and_folders(tmp_path: Path) -> None:
    line = f"profile resnet18 --detector retinanet -r stage3 --input-size 96x128 -o {tmp_path}/out.json"
    assert "wrote" in run(line).stdout
    records = json.loads((tmp_path / "out.json").read_text())["records"]
    assert [record["name"] for record in records] == ["retinanet resnet18", "retinanet resnet18 + stage3"]
    assert records[1]["group"] == "retinanet resnet18"
    assert records[1]["input_size"] == [3, 96, 128]
    folder = hi.save(hi.detector("maskrcnn", "resnet18", 3), tmp_path / "mine")
    shown = run(f"profile {folder} --input-size 96x128").stdout
    assert "mask head" in shown
    assert "boxes of 1,000 proposals an image, masks of 100" in " ".join(shown.split())
    assert "--detector retinanet builds one around it" in error_of(f"profile {folder} resnet18")
    for option in ("--latency", "--memory", "--batch 4", "--dtype bfloat16", "--channels-last", "--compile"):
        said = error_of(f"profile resnet18 --detector retinanet {option}")
        assert f"{option.split()[0]}: is for models: whole detectors" in said
    assert "did you mean 'maskrcnn'" in error_of("profile resnet18 --detector maskrcn")
