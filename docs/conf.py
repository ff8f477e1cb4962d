"""How Sphinx builds the pages: ``make docs``. Nothing is fetched, and warnings are errors."""

import inspect
import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.nodes import make_refnode

import stackfuse

project = "stackfuse"
author = copyright = "the stackfuse developers"
release = version = stackfuse.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_design",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# The notebooks lie at the top of the repository, and Sphinx reads what lies here. They are shown
# with the outputs that they hold; a test runs them.
HERE = Path(__file__).parent
shutil.copytree(HERE.parent / "notebooks", HERE / "notebooks", dirs_exist_ok=True)
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_default_options = {"members": True, "inherited-members": True}
autodoc_typehints = "none"
add_module_names = False
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False

nitpick_ignore_regex = [
    # Pages of other libraries are not fetched, so nothing is there to link to.
    (r"py:.*", r"(keras|sklearn|numpy|scipy|pandas|matplotlib|joblib|tensorflow)\..*"),
    # An attribute of FoldJob, which numpydoc takes for a property: its default is a class.
    ("py:obj", "progress"),
]

html_theme = "pydata_sphinx_theme"
html_title = "stackfuse"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {page: [] for page in ["index", "quick_start", "faq", "changelog"]}
html_show_sourcelink = False
# Browsers refuse to fetch the summaries of found pages where pages are opened as files.
html_show_search_summary = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def is_left_out(app, what, name, member, skip, options) -> bool | None:
    """Leave out methods of scikit-learn and Keras, which describe them, and plain attributes.

    A class lists its attributes in its own text.
    """
    if what not in {"class", "exception"}:
        return None
    found = inspect.unwrap(getattr(member, "fget", None) or member)
    ours = (getattr(found, "__module__", None) or "").startswith("stackfuse")
    return None if ours and inspect.isroutine(found) else True


def find_short_name(app, env, node, contnode) -> nodes.reference | None:
    """Resolve ``KerasClassifier`` from every module: whatever ends so and is one thing alone."""
    if node.get("refdomain") != "py":
        return None
    ending = f".{node['reftarget']}"
    objects = env.get_domain("py").objects
    found = [n for n, it in objects.items() if f".{n}".endswith(ending) and not it.aliased]
    if len(found) != 1:
        return None
    there = objects[found[0]]
    return make_refnode(
        app.builder, node["refdoc"], there.docname, there.node_id, contnode, found[0]
    )


def adapt_links(app, docname: str, source: list[str]) -> None:
    """Let links between ``docs/`` and ``notebooks/`` lead to where the notebooks are copied."""
    source[0] = re.sub(r"\]\(((?:\.\./)*)\.\./notebooks/", r"](\1notebooks/", source[0])
    if docname.startswith("notebooks/"):
        source[0] = source[0].replace("](../docs/", "](../")


def refuse_what_is_fetched(app, exception) -> None:
    """Fail if a page loads a script, a style or a picture from the net."""
    pattern = re.compile(r'<(?:script|link|img)[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"')
    for path in Path(app.outdir).rglob("*.html"):
        if found := pattern.search(path.read_text()):
            raise ExtensionError(f"{path.name} would load from the net: {found[0]}>")


def setup(app) -> None:
    """Connect what is above to Sphinx."""
    app.connect("autodoc-skip-member", is_left_out)
    app.connect("missing-reference", find_short_name)
    app.connect("source-read", adapt_links)
    app.connect("build-finished", refuse_what_is_fetched)
