"""Sphinx configuration: `sphinx-build -W docs docs/_build/html`."""

import ast
import inspect
import os
import re
import textwrap

from sphinx.application import Sphinx

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
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
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


class _Unquoted(ast.NodeTransformer):
    """Takes the quotes off types."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        if isinstance(node.annotation, ast.Constant) and node.annotation.value:
            node.annotation = ast.Name(node.annotation.value)
        return node


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
    arguments = _Unquoted().visit(node.args)
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
    text = re.sub(r"`([^`]+)`(s?)", _code, "\n".join(lines))
    # A heading over text that is not indented.
    text = re.sub(r"(?m)^Example:$", ".. rubric:: Example", text)
    lines[:] = text.split("\n")


def _code(match: re.Match[str]) -> str:
    """Return code in reST: only names may be links, and only `\\ ` lets an s follow."""
    code, plural = match.groups()
    quotes = "`" if re.fullmatch(r"[\w.]+", code) else "``"
    return quotes + code + quotes + plural.replace("s", r"\ s")


def setup(app: Sphinx) -> None:
    """Connect the above; docstrings come before napoleon reads them, at 500."""
    app.connect("autodoc-process-signature", write_signature)
    app.connect("autodoc-process-docstring", write_rest, priority=400)
