"""Metrics of TensorFlow Addons as metrics of Keras 3."""

from typing import Any

import keras
import tensorflow as tf

from keras_ext._types import Tensor
from keras_ext.addons._config import Adapted, check_kind
from keras_ext.addons._variables import outside, sharing


@keras.saving.register_keras_serializable(package="keras_ext")
class AddonsMetric(Adapted, keras.Metric):
    """A metric of Keras 3 around one of Keras 2; `addons.metric` makes it.

    Args:
        legacy: Metric of TensorFlow Addons or tf_keras.
    """

    def __init__(self, legacy: Any) -> None:
        import tf_keras

        check_kind(legacy, "metric", tf_keras.metrics.Metric)
        super().__init__(name=legacy.name)
        self.legacy = legacy
        # XLA cannot compile its check of the labels.
        self.supports_jit = type(legacy).__name__ != "CohenKappa"
        self._shared: set[int] = set()
        # Some have branches on tensors, for which AutoGraph must rewrite them. Keras 3
        # traces its steps without it, so in a trace they get functions that have it.
        self._update = tf.function(self._update_legacy, reduce_retracing=True)
        self._result = tf.function(self._legacy_result)

    @property
    def variables(self) -> list[Any]:
        """The variables of the adapted metric, shared with it."""
        new = [one for one in self.legacy.variables if id(one) not in self._shared]
        if new:
            # Some are created by the first update, as their shapes are known then.
            outside(lambda: self._share(new))
        return super().variables

    def update_state(self, *args: Tensor, **kwargs: Tensor) -> None:
        """Accumulate a batch: targets, predictions and weights, for most metrics."""
        args, kwargs = keras.tree.map_structure(_tensor, (args, kwargs))
        weights = kwargs.get("sample_weight")
        if type(self.legacy).__name__ == "RSquare" and weights is not None:
            # It is the only one that takes no weight per sample, but one per target.
            while weights.shape.rank < args[0].shape.rank:
                weights = tf.expand_dims(weights, -1)
            kwargs = {**kwargs, "sample_weight": weights}
        if tf.executing_eagerly():
            self._update_legacy(*args, **kwargs)
        elif tf.distribute.in_cross_replica_context():
            # Keras traces the model once outside of the replicas, to learn its shapes.
            tf.distribute.get_strategy().run(self._update, args, kwargs)
        else:
            self._update(*args, **kwargs)

    def result(self) -> Tensor:
        """Return the current value."""
        return self.legacy.result() if tf.executing_eagerly() else self._result()

    def reset_state(self) -> None:
        """Set all variables to their values before the first update."""
        for variable in self.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))

    def _update_legacy(self, *args: Tensor, **kwargs: Tensor) -> None:
        self.legacy.update_state(*args, **kwargs)

    def _legacy_result(self) -> Tensor:
        # As the class defines it: the object's own adds a reduction over replicas,
        # which Keras 3 makes where it reads the result.
        return type(self.legacy).result(self.legacy)

    def _share(self, variables: list[Any]) -> None:
        for one in variables:
            self._shared.add(id(one))
            with sharing(one) as described:
                self.add_variable(**described)


def metric(legacy: Any) -> AddonsMetric:
    """Make a Keras 3 metric of one of TensorFlow Addons.

    Its variables are those of the metric that is adapted, which must not be used
    elsewhere. `GeometricMean` and `HarmonicMean`, which take values and no targets,
    only work in eager execution, as they did in Keras 2. Steps with `CohenKappa` run as
    a graph in a `Trainer`, since XLA cannot compile it.

    Args:
        legacy: Metric of TensorFlow Addons or tf_keras. Under a `tf.distribute`
            strategy, it must have been created in the strategy's scope.

    Returns:
        A `keras.Metric`, for `metrics` and `weighted_metrics` of `compile`.

    Raises:
        TypeError: If it is not such a metric.

    Example:

    >>> from keras_ext import addons
    >>> metric = addons.metric(addons.tfa.metrics.CohenKappa(num_classes=2))
    >>> metric.update_state([1, 0, 1, 1], [0.9, 0.2, 0.8, 0.1])
    >>> float(metric.result())
    0.5
    """
    return AddonsMetric(legacy)


def _tensor(value: Any) -> Tensor:
    return None if value is None else tf.convert_to_tensor(value)
