"""Weight normalization: trains a filter's length apart from its direction."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import scale, unit
from keras_ext._types import Config, Shape, Tensor

_WRAPPED = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)


@keras.saving.register_keras_serializable(package="keras_ext")
class WeightNormalization(keras.layers.Wrapper):
    """Gives a layer the kernel `g * v / ||v||`, where `g` and `v` are trained.

    Wrap a dense layer or a convolution in it. The length and the direction of an
    output's weight vector are then trained separately, which the paper finds to speed
    up gradient descent; no sample depends on the others in its batch.

    `output = layer(input)` with the kernel `w = g * v / ||v||`

    `v` is the kernel of the wrapped layer, `||v||` the norm of what belongs to one
    output (all axes of the kernel but the last), and `g`, one number per output,
    starts at `||v||`: before training, the layer acts as if it were not wrapped.

    With `data_init`, the first call in training gives every output mean 0 and variance
    1 over its batch, before the activation:

    `g = 1 / std(t)`, `bias = -mean(t) / std(t)` with `t` from `w = v / ||v||`

    An output that does not vary in that batch keeps its `g` and bias. If none varies,
    as with a single sample, the start is left to the next training call. `remove()`
    returns the wrapped layer with the kernel `w`, for use without it.

    Reference: T. Salimans, D. P. Kingma, "Weight Normalization: A Simple
    Reparameterization to Accelerate Training of Deep Neural Networks", 2016,
    https://arxiv.org/abs/1602.07868.

    Args:
        layer: A `Dense`, `Conv1D`, `Conv2D` or `Conv3D` of `keras.layers`, or of a
            subclass of one of them.
        data_init: Boolean. Whether the first call in training sets `g` and the bias
            from its batch; without a bias, only `g`. Turn it off to wrap a layer that
            is already trained. Default: `True`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`. `dtype` defaults
            to that of the wrapped layer. An `activity_regularizer` belongs to the
            wrapped layer.

    Call arguments:
        inputs: Float tensor, as the wrapped layer takes it.
        training: Boolean. Whether the initialization from the data may take place.
            Default: `None`, which follows the calling layer or model.

    Input shape:
        That of the wrapped layer.

    Output shape:
        That of the wrapped layer.

    Raises:
        TypeError: If `layer` is of another kind. A kernel whose last axis is not that
            of the outputs (transposed, depthwise), or which is used step by step
            (recurrent layers), has no `w` of this form.
        ValueError: If an argument is out of range; on build or call, if the kernel is
            not a floating-point weight, as with LoRA or when quantized to integers.
            Call `remove()` first, and use the layer that it returns.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import WeightNormalization
    >>> layer = WeightNormalization(keras.layers.Dense(3, activation="relu"))
    >>> tuple(layer(np.ones((2, 4), "float32")).shape)
    (2, 3)
    >>> [weight.name for weight in layer.trainable_weights]
    ['g', 'kernel', 'bias']
    >>> type(layer.remove()).__name__
    'Dense'

    The result of the initialization is kept apart from the trained weights, in
    `g_offset` and `bias_offset`, and added to them: JAX training steps keep changes
    made by a call only in weights that are not trained. `g` is trained as if it had
    been set, but weight decay would pull it to `g_offset`; exclude `g` from it.
    `started` records whether the initialization has taken place, and is saved with the
    weights. On several replicas, each starts from its part of the batch, and all
    continue from the mean.

    Regularizers and constraints of the kernel are applied to `v`. A filter of zeros has
    no direction and stays 0. `trainable = False` on the wrapped layer is saved with it,
    and freezes everything except `g`. Neither a frozen wrapper nor one around a frozen
    layer is initialized from data.

    Masks pass through where the wrapped layer lets them; masked steps count in the
    initialization. Under a mixed-precision policy norms and moments are computed in
    float32.
    """

    def __init__(
        self, layer: keras.Layer, *, data_init: bool = True, **kwargs: object
    ) -> None:
        if not isinstance(layer, _WRAPPED):
            names = ", ".join(kind.__name__ for kind in _WRAPPED)
            raise TypeError(
                f"`layer` must be one of {names}, or a subclass of one of them: their "
                "kernel has the outputs on its last axis and is used once per call. "
                f"Received: layer={layer!r}"
            )
        if kwargs.get("activity_regularizer") is not None:
            raise ValueError(
                "`activity_regularizer` must be given to the wrapped layer, whose "
                "outputs it regularizes. Received: "
                f"activity_regularizer={kwargs['activity_regularizer']!r}"
            )
        kwargs.setdefault("dtype", layer.dtype_policy)
        super().__init__(layer, **kwargs)
        self.data_init = _checks.one_of("data_init", data_init, (True, False))
        self.supports_masking = layer.supports_masking
        # The wrapped layer is called where its losses are not collected.
        self.activity_regularizer = layer.activity_regularizer

    def build(self, input_shape: Shape) -> None:
        """Build the wrapped layer, and create `g` and the initialization's state."""
        super().build(input_shape)
        kernel = self._replaced()[0]
        activation = self.layer.activation
        if isinstance(activation, keras.Layer) and not activation.built:
            # Weights created in `call` would not persist.
            activation.build(self.layer.compute_output_shape(input_shape))
        self.input_spec = self.layer.input_spec
        shape = kernel.shape[-1:]
        self.g = self.add_weight(
            name="g",
            shape=shape,
            initializer=lambda shape, dtype: ops.cast(_norms(kernel), dtype),
            autocast=False,
        )
        if self.data_init:
            self.g_offset = self._state("g_offset", shape)
            if self.layer.bias is not None:
                self.bias_offset = self._state("bias_offset", shape)
            self.started = self._state("started", (), dtype="bool")

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the output of the wrapped layer with the kernel `g * v / ||v||`."""
        trainable = self.trainable and self.layer.trainable
        starts = self.data_init and training and trainable
        scope = self._scope(*self._weights(self._start(inputs) if starts else None))
        before = dict(scope.state_mapping)
        with scope:
            outputs = self.layer(inputs)
        for variable in self.layer.non_trainable_variables:
            value = scope.get_current_value(variable)
            if value is not before[id(variable)]:
                variable.assign(value)
        return ops.cast(outputs, self.compute_dtype)

    def remove(self) -> keras.Layer:
        """Return the wrapped layer with the kernel `g * v / ||v||`, for use on its own.

        It returns what the wrapper returned, without the overhead. The wrapper stays
        usable, and the two continue to share their weights. Call it outside compiled
        code.

        Raises:
            ValueError: If the layer has not been built.
        """
        if not self.built:
            raise ValueError(
                f"{self.name} has no weights to return yet. Call it on an input, or "
                "build it, before `remove`."
            )
        for variable, value in zip(self._replaced(), self._weights(), strict=True):
            variable.assign(value)
        self.g.assign(_norms(self.layer.kernel))
        if self.data_init:
            for offset in self._offsets():
                offset.assign(ops.zeros(offset.shape))
            self.started.assign(True)
        return self.layer

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the output shape of the wrapped layer."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        config = {**super().get_config(), "data_init": self.data_init}
        config.pop("activity_regularizer", None)  # it belongs to the wrapped layer
        config["layer"].pop("build_config", None)  # the shape that it was built for
        return config

    def _replaced(self) -> list[keras.Variable]:
        """Return the weights that are replaced in the wrapped layer."""
        kernel, bias = self.layer.kernel, self.layer.bias
        # Also after `build`: LoRA and quantization may come at any time.
        if not isinstance(kernel, keras.Variable) or "float" not in kernel.dtype:
            raise ValueError(
                f"{self.name} needs a layer whose kernel is a floating-point weight. "
                f"Received: {self.layer.name!r}, whose kernel is not. Wrap a layer "
                "without LoRA and quantization; call `remove` before you add them."
            )
        return [kernel] if bias is None else [kernel, bias]

    def _offsets(self) -> list[keras.Variable]:
        """Return what is added to `g` and to the bias."""
        has_bias = self.layer.bias is not None
        return [self.g_offset, self.bias_offset] if has_bias else [self.g_offset]

    def _state(self, name: str, shape: Shape, dtype: str | None = None) -> Tensor:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer="zeros",
            dtype=dtype or keras.backend.result_type(self.variable_dtype, "float32"),
            trainable=False,
            autocast=False,
            aggregation="mean" if dtype is None else "only_first_replica",
        )

    def _trained(self) -> list[Tensor]:
        """Return the trained `g` and bias."""
        return [_at_least_float32(v) for v in (self.g, *self._replaced()[1:])]

    def _weights(self, offsets: list[Tensor] | None = None) -> list[Tensor]:
        """Return the kernel and the bias to call the wrapped layer with."""
        gain_and_bias = self._trained()
        if self.data_init:
            pairs = zip(gain_and_bias, offsets or self._offsets(), strict=True)
            gain_and_bias = [ops.add(weight, offset) for weight, offset in pairs]
        gain, *bias = gain_and_bias
        return [_scaled(self.layer.kernel, gain), *bias]

    def _scope(self, *weights: Tensor) -> keras.StatelessScope:
        """Return a scope in which the wrapped layer has these weights."""
        values = [(variable, variable.value) for variable in self.layer.variables]
        values += zip(self._replaced(), weights, strict=True)
        return keras.StatelessScope(values, initialize_variables=False)

    def _start(self, inputs: Tensor) -> list[Tensor]:
        """Return the offsets, first setting them from `inputs` if necessary."""
        read = [inputs, _at_least_float32(self.layer.kernel), *self._trained()]
        started, *offsets = ops.cond(
            self.started.value,
            lambda: [
                ops.ones((), dtype="bool"),
                *(_at_least_float32(offset) for offset in self._offsets()),
            ],
            lambda: self._offsets_from(*read),
        )
        # The initialization counts as set manually: no gradient flows through it.
        offsets = [ops.stop_gradient(offset) for offset in offsets]
        for variable, value in zip(self._offsets(), offsets, strict=True):
            variable.assign(value)
        self.started.assign(started)
        return offsets

    def _offsets_from(
        self, inputs: Tensor, kernel: Tensor, *trained: Tensor
    ) -> list[Tensor]:
        """Return whether each output varies, and the offsets that normalize them."""
        outputs = self._pre_activations(inputs, _scaled(kernel, 1.0))
        outputs = _at_least_float32(outputs)
        first = getattr(self.layer, "data_format", None) == "channels_first"
        rank = len(outputs.shape)
        axes = [axis for axis in range(rank) if axis != (1 if first else rank - 1)]
        mean, variance = ops.mean(outputs, axis=axes), ops.var(outputs, axis=axes)
        gain = ops.rsqrt(variance)
        wanted = [gain, -mean * gain][: len(trained)]
        # Due to rounding, even identical outputs have a variance above 0.
        varies = variance > 1e-10 * ops.square(mean)
        pairs = zip(wanted, trained, strict=True)
        offsets = [ops.where(varies, new - old, 0.0) for new, old in pairs]
        return [ops.any(varies), *offsets]

    def _pre_activations(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        layer = self.layer
        zeros = [ops.zeros(bias.shape) for bias in self._replaced()[1:]]
        activation, layer.activation = layer.activation, keras.activations.linear
        try:
            with self._scope(kernel, *zeros):
                return layer(inputs)
        finally:
            layer.activation = activation


def _at_least_float32(tensor: Tensor) -> Tensor:
    return ops.cast(tensor, keras.backend.result_type(tensor.dtype, "float32"))


def _axes(kernel: Tensor) -> tuple[int, ...]:
    return tuple(range(len(kernel.shape) - 1))


def _norms(kernel: Tensor) -> Tensor:
    """Return the norm of what belongs to each output."""
    kernel, axes = _at_least_float32(kernel), _axes(kernel)
    size = scale(kernel, axes)
    norms = size * ops.sqrt(ops.sum(ops.square(kernel / size), axes, keepdims=True))
    return ops.reshape(norms, (-1,))


def _scaled(kernel: Tensor, gain: Tensor | float) -> Tensor:
    """Return `kernel` with the norm `gain` of what belongs to each output.

    A filter of zeros stays so.
    """
    return gain * unit(_at_least_float32(kernel), _axes(kernel))
