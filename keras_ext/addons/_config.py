"""Objects of Keras 2 as configurations, and back, for files of Keras 3."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from keras_ext._types import Config
from keras_ext.addons._package import tensorflow_addons

PACKAGES = ("tensorflow_addons", "tf_keras")

# What Keras writes for data, which no class is looked up for.
_DATA = ("__bytes__", "__numpy__", "__tensor__", "__tuple__")
_RUN_CODE = ("Lambda", "TFSMLayer")
# Where files may find something; elsewhere are functions that read and write.
_ROOMS = (
    *("activations", "constraints", "initializers", "layers", "losses", "metrics"),
    *("mixed_precision", "optimizers", "regularizers", "rnn", "seq2seq"),
)


def root_of(thing: Any) -> str:
    """Return the package that an object, class or function comes from."""
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return str(kind.__module__).partition(".")[0]


def check_kind(
    thing: Any, kind: str, base: type, *, functions: str | None = None
) -> None:
    """Raise `TypeError` if an adapter cannot adapt this.

    Args:
        thing: What it was given.
        kind: What it adapts, for the message: `"loss"`, and so on.
        base: The class of tf_keras that it adapts.
        functions: The module of both packages whose functions it adapts, too.
    """
    if isinstance(thing, base):
        return
    if functions and _is_function_of(functions, thing):
        return
    raise TypeError(
        f"The argument of `addons.{kind}` must be of TensorFlow Addons or tf_keras, "
        f"where its class is {base.__name__}"
        + (f", or a function of `{functions}` there" if functions else "")
        + f". Received: {thing!r} of type {type(thing).__name__}{_advice(thing, base)}"
    )


def _is_function_of(module: str, thing: Any) -> bool:
    function = _python_function(thing)
    if not inspect.isfunction(function) or root_of(function) not in PACKAGES:
        return False
    return module in function.__module__.split(".")


def _advice(thing: Any, base: type) -> str:
    if root_of(thing) in ("keras", "keras_ext"):
        return ", which is of Keras 3 already: use it without the adapter."
    if inspect.isclass(thing) and issubclass(thing, base):
        return f", which is a class: pass an instance, {thing.__name__}(...)."
    return "."


def to_config(thing: Any) -> Config:
    """Return the configuration of an object, as tf_keras writes it.

    Raises:
        ValueError: If it holds a function that no file can name.
    """
    import tf_keras

    if root_of(_python_function(thing)) in PACKAGES and not hasattr(
        thing, "get_config"
    ):
        function = _python_function(thing)
        config = {
            "module": function.__module__,
            "class_name": "function",
            "config": function.__name__,
        }
    else:
        config = tf_keras.saving.serialize_keras_object(thing)
        config["config"] = _corrected(thing, config["config"])
    _check(config)
    return _unbuilt(config)


def from_config(config: Config) -> Any:
    """Return the object that a configuration describes.

    Only classes and functions of TensorFlow Addons and tf_keras are looked up, and none
    that run code from the file.

    Raises:
        ValueError: If the configuration names anything else.
    """
    import tf_keras

    tensorflow_addons()
    _check(config)
    config = _unbuilt(config)
    if config["class_name"] == "function":
        return _named(config["module"], config["config"])
    return tf_keras.saving.deserialize_keras_object(config)


def _python_function(thing: Any) -> Any:
    """Return the function in a `tf.function`."""
    return getattr(thing, "python_function", thing)


def _check(config: Config) -> None:
    """Raise `ValueError` if a configuration names what it must not."""
    for part in _parts(config):
        name, module = part["class_name"], part.get("module")
        if name in _DATA:
            continue
        registered = part.get("registered_name")
        if name == "function":
            name, registered = part.get("config"), None
        if not _is_ours(module, name, registered) or name in _RUN_CODE:
            raise ValueError(
                "A saved object of TensorFlow Addons may contain only classes and "
                "functions of tensorflow_addons and tf_keras, and no lambda. "
                f"Received: {name!r} of {module or registered!r}. Use a named function "
                "or a class of these packages, or build the model from code and load "
                "its weights."
            )


def _corrected(thing: Any, config: Config) -> Config:
    """Return the arguments of the constructor, where `get_config` has others."""
    accepted = inspect.signature(type(thing)).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in accepted.values()):
        # Two losses write a reduction, which they do not take.
        config = {name: one for name, one in config.items() if name in accepted}
    # A metric leaves out its number of regressors.
    attributes = {name: getattr(thing, name, None) for name in accepted}
    plain = {name: one for name, one in attributes.items() if type(one) in (int, float)}
    return {**plain, **config}


def _unbuilt(config: Any) -> Any:
    """Return a configuration without shapes: adapters build what they adapt."""
    if isinstance(config, dict):
        return {
            name: _unbuilt(one)
            for name, one in config.items()
            if name not in ("build_config", "compile_config")
        }
    if isinstance(config, (list, tuple)):
        return [_unbuilt(one) for one in config]
    return config


def _parts(config: Any) -> Iterator[Config]:
    """Yield every object in a configuration."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for one in config.values():
            yield from _parts(one)
    elif isinstance(config, (list, tuple)):
        for one in config:
            yield from _parts(one)


def _is_ours(module: Any, name: Any, registered: Any) -> bool:
    """Whether what a configuration names is of the two packages, and public there."""
    import tf_keras

    # What is registered under a name is what tf_keras would take.
    found = [
        tf_keras.saving.get_registered_object(key)
        for key in (registered, name)
        if isinstance(key, str)
    ]
    found = [one for one in found if one is not None]
    if any(root_of(_python_function(one)) not in PACKAGES for one in found):
        return False
    if module is None or module == "builtins":
        rooms = ("optimizers.legacy", "optimizers.schedules", *_ROOMS)
        return bool(found) or any(_named(f"keras.{room}", name) for room in rooms)
    # It would be imported, too.
    return isinstance(module, str) and _named(module, name) is not None


def _named(module: str, name: Any) -> Any:
    """Return what a module of the two packages calls this; `None` for others.

    Of tf_keras, only what is public: its layers for any operation of TensorFlow, which
    could write files, are not.
    """
    root, _, rest = module.partition(".")
    if root == "keras":
        # So tf_keras calls itself.
        root, module = "tf_keras", f"tf_keras.{rest}".rstrip(".")
    is_room = root in PACKAGES and rest.partition(".")[0] in _ROOMS
    if not is_room or not isinstance(name, str):
        return None
    try:
        found = vars(importlib.import_module(module)).get(name)
    except ImportError:
        return None
    function = _python_function(found)
    return found if found is not None and root_of(function) in PACKAGES else None


class Adapted:
    """What adapters share: they keep an object of Keras 2, and are saved with it."""

    legacy: Any

    def get_config(self) -> Config:
        """Return the configuration of what is adapted."""
        return {"legacy": to_config(self.legacy)}

    @classmethod
    def from_config(cls, config: Config) -> Any:
        """Return the adapter that `get_config` describes."""
        return cls(from_config(config["legacy"]))  # type: ignore[call-arg]
