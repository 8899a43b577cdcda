"""Classes in Keras's registry before the code that needs TensorFlow is loaded."""

import importlib
from typing import Any

import keras

from keras_ext._types import Config


def register(module: str, *names: str) -> None:
    """Let Keras load files with these classes of a module that is loaded late.

    What is registered under their names only has a `from_config`, which loads the class
    itself. That one replaces it in the registry.
    """
    for name in names:
        attributes = {"__module__": __name__, "module": module}
        stand_in = type(name, (_StandIn,), attributes)
        keras.saving.register_keras_serializable("keras_ext", name)(stand_in)


class _StandIn:
    """Creates objects of the class that has its name."""

    module: str

    def get_config(self) -> Config:
        """Raise: there are no objects of this class. Keras requires the method."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: Config) -> Any:
        """Load the class and create an object of it.

        Raises:
            ImportError: If the backend is not TensorFlow.
        """
        module = importlib.import_module(cls.module)
        return getattr(module, cls.__name__).from_config(config)
