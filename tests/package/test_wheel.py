"""The wheel and the source archive: what is in them, and the package as it is once installed from the wheel."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from test_typed import SCRIPT

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that sees no checkout; return what it printed."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"COLUMNS": "100"}
    found = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of a new environment: the wheel in its own folder, its requirements lent."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Behind its own packages; the .pth of an editable install in the lent folder is not read.
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_the_wheel_has_the_package_and_its_recipes_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "hmhsa_insert").rglob("*") if path.is_file()}
    recipes = {f"hmhsa_insert/_{path.relative_to(ROOT)}" for path in (ROOT / "recipes").rglob("*.yaml")}
    assert names == {name for name in package if "__pycache__" not in name} | recipes
    assert {"hmhsa_insert/py.typed", "hmhsa_insert/_recipes/stage3.yaml"} <= names


def test_the_source_archive_builds_the_same_wheel(dist: Path, wheel: Path, tmp_path: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
        opened.extractall(tmp_path, filter="data")
    assert {"LICENSE", "CITATION.cff", "SECURITY.md", "constraints.txt", "recipes/stage3.yaml"} <= names
    assert not [name for name in names if name.split("/")[0] in ("reports", "runs", "dist", ".venv")]
    (source,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=source)
    (again,) = (tmp_path / "again").iterdir()
    ours, theirs = zipfile.ZipFile(wheel), zipfile.ZipFile(again)
    assert {each: ours.read(each) for each in ours.namelist()} == {
        each: theirs.read(each) for each in theirs.namelist()
    }


def test_the_description_renders(dist: Path, wheel: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir(), cwd=dist)
    (name,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA")]
    metadata = message_from_string(zipfile.ZipFile(wheel).read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_installed_command_edits_a_network_in_another_folder(fresh: Path, tmp_path: Path) -> None:
    place = "import hmhsa_insert; print(hmhsa_insert.__file__)"
    assert run(fresh / "python", "-c", place, cwd=tmp_path).startswith(str(fresh.parent))
    edit = ("apply", "resnet18", "--recipe", "stage3.yaml", "--input-size", "64", "-o", "spliced")
    assert "wrote spliced" in run(fresh / "hmhsa-insert", *edit, cwd=tmp_path)
    assert "hmhsa" in run(fresh / "hmhsa-insert", "show", "spliced", cwd=tmp_path)
    assert {"stage3", "transcnn"} <= set(run(fresh / "hmhsa-insert", "recipes", cwd=tmp_path).split())


def test_a_strict_script_sees_the_types_of_the_wheel(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    found = run(fresh / "python", "-m", "mypy", "--strict", "--cache-dir", "cache", "script.py", cwd=tmp_path)
    revealed = re.findall(r'note: Revealed type is "(.*)"', found)
    assert len(revealed) == SCRIPT.count("reveal_type")
    assert not [each for each in revealed if re.search(r"\bAny\b", each.split("[")[0])], revealed


MORE = ("simam", "ema", "gam", "triplet", "lska", "irmb")
EDIT = "  - {{op: insert, id: {0}, at: {{stage: 2}}, block: {{type: {0}}}}}\n"
STUDY = """version: 1
name: more
models: test_resnet
data: digits
seeds: 1
settings: {short: {base: digits, epochs: 1, input_size: 32}}
baseline: plain
variants:
  plain: null
  ema: {recipe: ema.yaml, controls: [placebo, matched]}
"""


def test_the_blocks_of_an_installed_package_are_listed_planned_and_studied(
    fresh: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(ROOT / "examples" / "more_blocks", tmp_path / "more_blocks")
    pip = [sys.executable, "-m", "pip", "--python", fresh / "python", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--no-build-isolation", source, cwd=tmp_path)
    shutil.rmtree(source)
    listed = " ".join(run(fresh / "hmhsa-insert", "blocks", cwd=tmp_path).split())
    for name in MORE:
        assert re.search(rf"\b{name} [^()]*.*?\(hmhsa-more-blocks 0\.1\.0\)", listed)
    (tmp_path / "all.yaml").write_text("version: 1\nedits:\n" + "".join(map(EDIT.format, MORE)))
    (tmp_path / "ema.yaml").write_text("version: 1\nedits:\n" + EDIT.format("ema"))
    plan = ("plan", "test_resnet", "--recipe", "all.yaml", "--input-size", "64")
    planned = run(fresh / "hmhsa-insert", *plan, cwd=tmp_path)
    assert all(f"{name} after" in planned for name in MORE)
    (tmp_path / "study.yaml").write_text(STUDY)
    study = run(fresh / "hmhsa-insert", "ablate", "study.yaml", "--dry-run", "-o", "study", cwd=tmp_path)
    assert "4 trials, 4 distinct" in study
