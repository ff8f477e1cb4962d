"""What holds for the package as a whole."""

import ast
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import stackfuse as sf

ROOT = Path(__file__).parents[2]


def test_all_is_what_is_there():
    told = ast.parse((ROOT / "stackfuse" / "__init__.pyi").read_text())
    imports = [node for node in told.body if isinstance(node, ast.ImportFrom)]
    assert sorted(sf.__all__) == sorted(name.name for node in imports for name in node.names)
    assert set(sf.__all__) <= set(dir(sf))
    assert all(getattr(getattr(sf, name), "__name__", name) == name for name in sf.__all__)


def test_importing_stackfuse_does_not_import_tensorflow():
    code = "import stackfuse, sys; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_import_contract_holds():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_setup_cfg_holds_the_architecture_alone():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert {section.split(":")[0] for section in config.sections()} == {"importlinter"}


def test_no_file_is_long():
    lengths = {p.name: len(p.read_text().splitlines()) for p in ROOT.glob("stackfuse/**/*.py")}
    assert max(lengths.values()) < 450, lengths


def blocks():
    """Return the Python blocks of the README."""
    text = (ROOT / "README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(blocks()) >= 2
    namespace: dict = {}
    for block in blocks():
        exec(compile(block, "README.md", "exec"), namespace)
    assert (tmp_path / "stack.keras").exists()


def test_the_changelog_has_this_version():
    assert f"## [{sf.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_the_demo_reproduces_the_stack(tmp_path, monkeypatch, capsys):
    from sklearn.linear_model import LogisticRegression

    from stackfuse._cli import (
        demo as _demo,
    )
    from stackfuse._cli import (
        main as cli,
    )

    # The full search is for people; the path through it is the same with fewer epochs.
    training = {"mlp__epochs": 2, "cnn__epochs": 2, "forest__n_estimators": 5}
    make = _demo.make_stack
    monkeypatch.setattr(_demo, "make_stack", lambda memory: make(memory).set_params(**training))
    monkeypatch.setattr(_demo, "META_LEARNERS", {"logistic": LogisticRegression(max_iter=1000)})
    assert cli.main(["demo", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "540 held-out rows: label differs by 0" in printed
    assert "stack, logistic (chosen)" in printed
    assert (tmp_path / "stack.keras").exists()
