"""Imports TensorFlow Addons so that its `tf.keras` is tf_keras, and only there."""

import builtins
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from keras_ext.addons._custom_ops import refuse_custom_ops

_ADDONS = "tensorflow_addons"
# What TensorFlow has of Keras, as `tf.initializers`.
_PARTS = ("initializers", "losses", "metrics", "optimizers")
_INSTALL = (
    'pip install "keras_ext[addons]" "tf-keras==V", where V is the version of '
    "TensorFlow, as in 2.18.*"
)


def tensorflow_addons() -> types.ModuleType:
    """Return the package TensorFlow Addons, which is imported the first time.

    For its own modules, and no others, `tf.keras` and `keras` are tf_keras, the
    continuation of Keras 2. No environment variable is needed, and `tf.keras` remains
    Keras 3 everywhere else. `keras_ext.addons.tfa` is the same package.

    Returns:
        The module, of which every name can be used as before.

    Raises:
        ImportError: If TensorFlow Addons or tf_keras is not installed. The wheels of
            TensorFlow Addons end at Python 3.11.

    Example:

    >>> from keras_ext import addons
    >>> addons.tensorflow_addons().__version__
    '0.23.0'
    """
    if _ADDONS in sys.modules:
        return sys.modules[_ADDONS]
    for name in ("tf_keras", _ADDONS):
        if importlib.util.find_spec(name) is None:
            raise ImportError(
                f"The bridge to TensorFlow Addons needs {name}, which is not "
                f"installed. Run: {_INSTALL}. The wheels of TensorFlow Addons end at "
                "Python 3.11."
            )
    # An import that failed, as it fails without this one, leaves modules that are
    # half-way, with the wrong Keras.
    for name in [name for name in sys.modules if name.startswith(f"{_ADDONS}.")]:
        del sys.modules[name]
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    with warnings.catch_warnings():
        # That it has ended, and knows no TensorFlow after 2.15, is why there is a
        # bridge.
        warnings.filterwarnings("ignore", category=UserWarning, module=_ADDONS)
        addons = importlib.import_module(_ADDONS)
    # What can be computed without the compiled operations is.
    addons.options.disable_custom_kernel()
    refuse_custom_ops(sys.modules[f"{_ADDONS}.utils.resource_loader"])
    return addons


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of TensorFlow Addons, for `_Loader`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where a module of TensorFlow Addons is; `None` for any other."""
        if fullname.partition(".")[0] != _ADDONS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None and spec.loader is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module whose `import` finds tf_keras where it looks for Keras."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the module, with its own `import`."""
        # Of the built-in names, a module looks for its own first.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


class _View(types.ModuleType):
    """A module of which some attributes are others."""

    def __init__(self, module: types.ModuleType, **others: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(others)
        self.__wrapped__ = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)


def _import(
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Any = (),
    level: int = 0,
) -> Any:
    """Import as the built-in function does, but tf_keras for Keras."""
    root = name.partition(".")[0]
    if level or root not in ("importlib", "keras", "tensorflow"):
        return __import__(name, globals, locals, fromlist, level)
    ours = _renamed(name)
    if ours != name and (fromlist or root == "keras"):
        module = importlib.import_module(ours)
        for one in fromlist or ():
            if not hasattr(module, one):
                importlib.import_module(f"{ours}.{one}")
        return module if fromlist else sys.modules["tf_keras"]
    module = __import__(name if ours == name else root, globals, locals, fromlist)
    if module.__name__ == "tensorflow":
        importer = str((globals or {}).get("__name__"))
        is_loss = importer.startswith(f"{_ADDONS}.losses.")
        return _with_keras_2(module, **({"function": _inlined} if is_loss else {}))
    if module.__name__ == "importlib":
        return _View(module, util=_View(importlib.util, find_spec=_find_spec))
    return module


def _with_keras_2(tensorflow: types.ModuleType, **others: Any) -> types.ModuleType:
    """Return TensorFlow with tf_keras, also where it calls parts of Keras its own."""
    legacy = importlib.import_module("tf_keras")
    parts = {name: getattr(legacy, name) for name in _PARTS}
    # Where TensorFlow finds it, too, if the environment asks for Keras 2. What else
    # version 1 has is not of Keras.
    first = importlib.import_module("tf_keras.api._v1.keras")
    v1 = _View(tensorflow.compat.v1, keras=first)
    v2 = _View(tensorflow.compat.v2, keras=legacy, **parts)
    compat = _View(tensorflow.compat, v1=v1, v2=v2)
    return _View(tensorflow, keras=legacy, compat=compat, **parts, **others)


def _inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `tf.function` that becomes a part of the graph that calls it.

    If it were called there, all its arguments would be constants to XLA, as soon as its
    gradient needs one that is computed in it, as a transpose's permutation is: a
    program for each value of them.
    """
    tensorflow = importlib.import_module("tensorflow")
    graph = tensorflow.function(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        inside = tensorflow.inside_function()
        return (function if inside else graph)(*args, **kwargs)

    return call


def _renamed(name: str) -> str:
    """Return the module of tf_keras that is meant, or the same name."""
    for prefix in ("tensorflow.keras", "keras"):
        if name == prefix or name.startswith(f"{prefix}."):
            return f"tf_keras{name[len(prefix) :]}"
    return name


def _find_spec(name: str, package: str | None = None) -> Any:
    return importlib.util.find_spec(_renamed(name), package)
