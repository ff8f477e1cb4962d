"""Properties of the package as a whole."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import stackfuse as sf
from tests.package import architecture
from tests.package.architecture import RULES

ROOT = Path(__file__).parents[2]


def test_all_is_what_is_there():
    told = ast.parse((ROOT / "stackfuse" / "__init__.pyi").read_text())
    imports = [node for node in told.body if isinstance(node, ast.ImportFrom)]
    assert sorted(sf.__all__) == sorted(name.name for node in imports for name in node.names)
    assert set(sf.__all__) <= set(dir(sf))
    own = {name: getattr(getattr(sf, name), "__name__", name) for name in sf.__all__}
    assert {name: said.rpartition(".")[-1] for name, said in own.items()} == {n: n for n in own}


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


@pytest.mark.parametrize("rule", RULES)
def test_the_house_is_in_order(rule):
    assert list(RULES[rule]()) == []


def write(path: Path, text: str = "") -> None:
    """Write a file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_every_rule_finds_its_breach(tmp_path, monkeypatch):
    monkeypatch.setattr(architecture, "ROOT", tmp_path)
    monkeypatch.setattr(architecture, "PACKAGE", tmp_path / "stackfuse")
    monkeypatch.setattr(architecture, "MANY_PARAMETERS", {"fuse"})
    names = ", ".join(f"n{k}" for k in range(8))
    body = "\n".join(f"    x = {k}\n    # why\n" for k in range(61))
    write(tmp_path / "stackfuse" / "_a" / "__init__.py", f"__all__ = {list(range(13))}")
    write(tmp_path / "stackfuse" / "_b" / "__init__.py", "from stackfuse._a.far import y")
    write(tmp_path / "stackfuse" / "_b" / "far.py", f"def f(self, {names}):\n    ''\n{body}")
    write(tmp_path / "stackfuse" / "_b" / "fuse.py", f"def fuse({names}): ...")
    write(tmp_path / "stackfuse" / "_b" / "ours.py", "self._own = 1\nself._own + other._own")
    write(tmp_path / "stackfuse" / "_b" / "x.py", "from sklearn.svm import _base\nx._base")
    write(tmp_path / "stackfuse" / "_core" / "__init__.py")
    write(tmp_path / "stackfuse" / "_core" / "sklearn_private.py", "import sklearn._loss")
    for k in range(16):
        write(tmp_path / "tests" / f"test_{k}.py", "x")
    assert {rule: len(list(walk())) for rule, walk in RULES.items()} == dict.fromkeys(RULES, 1)


def test_private_names_that_are_overridden_are_few():
    # scikit-learn's own stacking checks its parts and draws itself there; ours adds to it.
    known = {"_sk_visual_block_", "_validate_estimators", "_validate_final_estimator"}
    known |= {"_html_repr"}  # which scikit-learn's ReprHTMLMixin asks its heirs to define
    known |= {"_run_search"}  # which scikit-learn documents for searches of one's own
    found = set()
    for public in (getattr(sf, name) for name in sf.__all__):
        bases = getattr(public, "__mro__", ())
        ours = {n for base in bases if base.__module__.startswith("stackfuse") for n in vars(base)}
        theirs = {n for base in bases if base.__module__.startswith("sklearn") for n in vars(base)}
        found |= {name for name in ours & theirs if architecture.is_private(name)}
    # scikit-learn and abc set these in every class that inherits from theirs.
    assert found - {"_abc_impl", "_sklearn_auto_wrap_output_keys"} == known


def project() -> dict:
    """Return the project's table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named(requirements: list[str]) -> set[str]:
    """Return the names of packages in requirements, as they are compared."""
    names = (re.split(r"[^\w.-]", requirement)[0] for requirement in requirements)
    return {name.lower().replace("_", "-") for name in names}


def imported() -> Iterator[tuple[str, bool]]:
    """Yield every library that the package imports, and whether its file is loaded on request."""
    for path, tree in architecture.sources("stackfuse"):
        at_once: list[ast.stmt] = [
            node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        top = {module for module, _, _ in architecture.imports(ast.Module(at_once, []))}
        for module, _, level in architecture.imports(tree):
            library = module.split(".")[0]
            if not level and library not in {"stackfuse", *sys.stdlib_module_names}:
                # The file named for a library is loaded when that library's estimators come.
                yield library, module not in top or Path(path).stem == library


def test_what_is_imported_is_declared():
    providers = packages_distributions()
    extras = project()["optional-dependencies"]
    always = named(project()["dependencies"])
    on_request = always | named([r for extra in extras.values() for r in extra])
    libraries = set(imported())
    assert {"keras", "onnx"} <= {library for library, _ in libraries}
    undeclared = {
        library
        for library, waits in libraries
        if not named(providers[library]) & (on_request if waits else always)
    }
    assert not undeclared


def test_the_readme_lists_the_rooms_from_the_ground_up():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    layers = config["importlinter:contract:rooms"]["layers"].split("\n")[::-1]
    floor = {room: k for k, layer in enumerate(layers) for room in re.findall(r"\b_\w+", layer)}
    text = (ROOT / "README.md").read_text()
    listed = re.findall(r"^\| `(_\w+)/` \|", text, re.MULTILINE)
    assert sorted(listed) == architecture.rooms()
    assert [floor[room] for room in listed] == sorted(floor.values())


def test_the_changelog_and_the_citation_have_this_version():
    assert f"## [{sf.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {sf.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.slow
def test_the_demo_reproduces_the_stack(tmp_path, monkeypatch, capsys):
    from sklearn.linear_model import LogisticRegression

    from stackfuse._cli import demo, main

    # The full search is for people; the path through it is the same with fewer epochs.
    training = {"mlp__epochs": 2, "cnn__epochs": 2, "forest__n_estimators": 5}
    make = demo.make_stack
    monkeypatch.setattr(demo, "make_stack", lambda memory: make(memory).set_params(**training))
    monkeypatch.setattr(demo, "META_LEARNERS", {"logistic": LogisticRegression(max_iter=1000)})
    assert main.main(["demo", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "540 held-out rows: label differs by 0" in printed
    assert "stack, logistic (chosen)" in printed
    assert (tmp_path / "stack.keras").exists()
