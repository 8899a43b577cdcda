"""Sphinx configuration: `sphinx-build -W docs docs/_build/html`."""

import ast
import inspect
import os
import pathlib
import re
import sys
import textwrap
import types
import typing

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import class_pages
from formulas import FORMULAS

# The training room is documented too, and needs this backend.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_ext

project = "keras_ext"
version = release = keras_ext.__version__
language = "en"

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
# Formulas are set while the pages are built: they need no script and no network.
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# A name in single backticks: a link where there is such a name, code where not.
default_role = "py:obj"
add_module_names = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

autodoc_member_order = "bysource"

napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [
    ("Attributes", "params_style"),
    ("Call arguments", "params_style"),
    "Input shape",
    "Output shape",
]

plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False

html_theme = "furo"
html_title = f"keras_ext {release}"
html_static_path = ["_static"]
html_css_files = ["keras_ext.css"]
html_show_copyright = False
html_copy_source = False


def write_class_pages(app: Sphinx, config: Config) -> None:
    """Write the pages of the large rooms, one per class, before they are read."""
    for room in class_pages.ROOMS:
        folder = pathlib.Path(app.srcdir, "api", room)
        class_pages.write(folder, room, getattr(keras_ext, room).__all__)


class _Readable(ast.NodeTransformer):
    """Takes the quotes off types, and puts values in the place of private names."""

    def __init__(self, names: dict[str, object]) -> None:
        self._names = names

    def visit_arg(self, node: ast.arg) -> ast.arg:
        if isinstance(node.annotation, ast.Constant) and node.annotation.value:
            node.annotation = ast.Name(node.annotation.value)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self._names.get(node.id)
        if node.id.startswith("_"):
            return ast.Constant(value)
        if node.id not in EXPLAINED and _is_choice(value):
            return ast.Name(repr(value).replace("typing.", ""))
        return node


_TABLE = pathlib.Path(__file__).with_name("api") / "index.md"
EXPLAINED = set(re.findall(r"`([A-Z]\w+)`", _TABLE.read_text(encoding="utf-8")))
"""The names for types that the first page of the reference explains."""


def _is_choice(value: object) -> bool:
    """Return whether a name stands for several values or types."""
    kinds = (typing.Literal, typing.Union, types.UnionType)
    return typing.get_origin(value) in kinds


def write_signature(
    app: object,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Return the signature in the words of the source: `Tensor`, not `Any`."""
    function = obj.__init__ if inspect.isclass(obj) else obj
    if what not in ("class", "function", "method") or not inspect.isfunction(function):
        return None
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    arguments = _Readable(function.__globals__).visit(node.args)
    if what != "function":
        del arguments.args[0]
    if what == "class":
        # `*more` is there for the sake of an error message.
        arguments.vararg = None
    if what == "class" or ast.unparse(node.returns) == "None":
        return f"({ast.unparse(arguments)})", None
    return f"({ast.unparse(arguments)})", ast.unparse(node.returns)


def write_rest(
    app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Change what a docstring may do and reST, or napoleon, would misread."""
    text = re.sub(_FORMULA, _formula, "\n".join(lines))
    text = re.sub(r"`([^`]+)`(s?)", _code, text)
    # A heading over text that is not indented.
    text = re.sub(r"(?m)^Example:$", ".. rubric:: Example", text)
    lines[:] = text.split("\n")


_FORMULA = re.compile(r"(?m)(?<=\n\n)( *)`([^`]+)`([,;.]?)(?=\n\n)")


def _formula(match: re.Match[str]) -> str:
    """Return a formula that is a paragraph as LaTeX."""
    indent, text, mark = match.groups()
    latex = FORMULAS.get(" ".join(text.split()))
    if latex is None:
        return match[0]
    return f"{indent}.. math:: {latex}{mark}"


def write_inline(writer: nodes.NodeVisitor, node: nodes.math) -> None:
    """Write a formula in a line as MathML."""
    writer.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def write_display(writer: nodes.NodeVisitor, node: nodes.math_block) -> None:
    """Write a formula on lines of its own as MathML."""
    formula = latex2mathml.converter.convert(node.astext(), display="block")
    writer.body.append(f'<div class="math">{formula}</div>')
    raise nodes.SkipNode


def _code(match: re.Match[str]) -> str:
    """Return code in reST: only names may be links, and only `\\ ` lets an s follow."""
    code, plural = match.groups()
    latex = FORMULAS.get(" ".join(code.split()))
    if latex is not None:
        return f":math:`{latex}`"
    quotes = "`" if re.fullmatch(r"[\w.]+", code) else "``"
    return quotes + code + quotes + plural.replace("s", r"\ s")


def setup(app: Sphinx) -> None:
    """Connect the above; docstrings come before napoleon reads them, at 500."""
    app.connect("config-inited", write_class_pages)
    app.add_html_math_renderer("mathml", (write_inline, None), (write_display, None))
    app.connect("autodoc-process-signature", write_signature)
    app.connect("autodoc-process-docstring", write_rest, priority=400)
