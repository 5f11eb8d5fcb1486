"""What the hosting service and pre-commit read: every file has its schema, and names only what there is."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SCHEMAS = {
    ".github/workflows/*.yml": "vendor.github-workflows",
    ".github/workflows/*.*": "custom.github-workflows-require-timeout",
    ".github/dependabot.yml": "vendor.dependabot",
    ".github/ISSUE_TEMPLATE/[!c]*.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    "CITATION.cff": "vendor.citation-file-format",
}
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(path: Path) -> dict[str, Any]:
    return read(path)["jobs"]


def commands(path: Path) -> list[str]:
    return [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("pattern", SCHEMAS)
def test_files_have_their_schema(pattern: str) -> None:
    paths = [str(path) for path in ROOT.glob(pattern)]
    assert paths
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[pattern], *paths]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_every_target_that_is_made_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    texts = [command for path in WORKFLOWS for command in commands(path)]
    texts += [
        (ROOT / name).read_text(encoding="utf-8")
        for name in (".pre-commit-config.yaml", ".github/pull_request_template.md", "CONTRIBUTING.md")
    ]
    made = {name for text in texts for name in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)}
    assert {"test", "demo", "lint", "wheel", "test-wheel"} <= made
    assert made <= targets


def test_every_python_that_the_metadata_names_is_tested_with_both_ends() -> None:
    matrix = jobs(ROOT / ".github/workflows/test.yml")["test"]["strategy"]["matrix"]
    named = [row.rpartition(" ")[2] for row in PYPROJECT["project"]["classifiers"] if ":: 3." in row]
    assert matrix["python"] == named
    assert PYPROJECT["project"]["requires-python"] == f">={named[0]}"
    assert matrix["constraints"] == ["constraints-oldest.txt", "constraints.txt"]
    assert all((ROOT / name).is_file() for name in matrix["constraints"])


def test_workflows_may_only_read() -> None:
    for path in WORKFLOWS:
        assert read(path)["permissions"] == {"contents": "read"}
        for job in jobs(path).values():
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False


def test_files_that_are_named_are_there() -> None:
    named = {
        name
        for path in [*ROOT.glob(".github/**/*.yml"), ROOT / ".github/pull_request_template.md"]
        for name in re.findall(r"[\w./-]+\.(?:md|txt|toml|cff)\b", path.read_text(encoding="utf-8"))
    }
    assert {"SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= named
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


def test_pre_commit_runs_what_lint_runs() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    entries = {hook["entry"].split()[0] for hook in repository["hooks"]}
    lint = re.search(
        r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert lint
    assert entries == {line.split()[0].replace("$(BIN)", ".venv/bin") for line in lint[1].splitlines()}


def test_the_version_is_one() -> None:
    assert read(ROOT / "CITATION.cff")["version"] == PYPROJECT["project"]["version"]
