"""The training step: a Keras model whose step is designed to be overridden."""

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.training.base.interfaces import TrainingProgram
from keras_ext.training.base.strategy_workers import meet, seed_of, told_of_errors
from keras_ext.training.data.arrays import Shuffle
from keras_ext.training.data.batch_checks import check_inputs
from keras_ext.training.data.chunks import Chunk, first_tensor
from keras_ext.training.data.class_weights import ClassWeight, ClassWeights
from keras_ext.training.data.keras_arguments import (
    debugging_limit,
    fit_source,
    is_due,
    limited_steps,
    pass_source,
    split_validation,
    validation_source,
)
from keras_ext.training.data.target_checks import check_targets, check_weights
from keras_ext.training.loop.logs import StepLogs
from keras_ext.training.loop.loop import Loop
from keras_ext.training.loop.progress import Verbose
from keras_ext.training.resume.arguments import Resume
from keras_ext.training.step.replicas import loss_share, summable
from keras_ext.training.trainer import (
    compile_arguments,
    hooks,
    keras_functions,
    legacy_objects,
)
from keras_ext.training.trainer.adoption import (
    adopt_compilation,
    warn_of_another_optimizer,
)
from keras_ext.training.trainer.evaluation import evaluate, in_order, predict
from keras_ext.training.trainer.programs import Programs
from keras_ext.training.trainer.replaced_fit import warn_of_replaced_fit
from keras_ext.training.trainer.wrapper import WrappedModel, accepted_config


@keras.saving.register_keras_serializable(package="keras_ext")
class Trainer(WrappedModel):
    """Trains a Keras model with a step that is designed to be overridden.

    `Trainer(model)` is a `keras.Model` that computes what `model` computes and adds
    three things: a `train_step` divided into hooks, a compiled `step` for loops written
    by hand, and a `fit` that is itself such a loop, built on `keras_ext.Loop`. It
    compiles, evaluates, predicts and saves like every Keras model. Subclass it to
    change the step, or to write the whole model with `call`.

    Hooks. You need not override any; each has a working default:

    - `train_step(data)`: one update; calls the hooks below, in this order.
    - `forward(x, training)`: the predictions.
    - `compute_loss(x, y, y_pred, sample_weight, training)`: the scalar to minimize.
    - `compute_gradients(tape, loss)`: one gradient per trainable variable.
    - `apply_gradients(gradients)`: the update.
    - `compute_metrics(x, y, y_pred, sample_weight)`: the logs.
    - `test_step(data)` and `predict_step(data)`: the same for `evaluate`, `predict`.

    All of them are traced once into a graph (not with `compile(run_eagerly=True)`), so
    they must compute with tensors. Do not override `step`, `fit`, `evaluate` or
    `predict`: they only decide when a step is made.

    Args:
        model: The `keras.Model` to train: sequential, functional or subclassed, built
            or not. One that is already compiled provides its optimizer, loss and
            metrics. Default: `None`, for a subclass that defines `call` (or a
            `train_step` that needs no `call`).
        seed: Non-negative integer that determines the order of arrays: the order of an
            epoch is a pure function of `(seed, epoch)`. Default: `None`, drawn in every
            `fit` from Python's `random`, which `keras.utils.set_random_seed` fixes.
        name: Name of the Trainer. Default: derived from the class name.
        **kwargs: `dtype`, `trainable` of `keras.Model`.

    Call arguments:
        inputs: What `model` takes.
        training: Boolean or `None`.

    Raises:
        TypeError: If `model` is not a `keras.Model`, as in `Trainer(inputs, outputs)`;
            when a subclass with a misspelled hook is defined.
        ValueError: If `model` overrides steps or `fit`, `evaluate`, `predict`, which
            would not be called, or was compiled with objects that cannot be adopted.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import tensorflow as tf
    >>> import keras_ext
    >>> class ClippedTrainer(keras_ext.Trainer):
    ...     def compute_gradients(self, tape, loss):
    ...         gradients = super().compute_gradients(tape, loss)
    ...         clipped, _ = tf.clip_by_global_norm(gradients, 1.0)
    ...         return clipped
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> trainer = ClippedTrainer(model, seed=0)
    >>> trainer.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> y = x @ [[2.0], [-1.0]]
    >>> history = trainer.fit(x, y, epochs=20, batch_size=16, verbose=0)
    >>> history.history["loss"][-1] < 1e-2
    True

    `save_weights` and `load_weights` act on the wrapped model, so files are
    interchangeable with it; `save` writes the Trainer, including the optimizer state.
    With a loss scale (`mixed_float16`), gradients reach `apply_gradients` scaled, and
    the optimizer unscales them; to clip, use the optimizer's own `clipnorm`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hooks.check_spelling(cls)
        hooks.accept_training(cls)

    def __init__(
        self,
        model: keras.Model | None = None,
        *more: Any,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, *more, name=name, **kwargs)
        self.seed = _checks.optional(_checks.non_negative_int, "seed", seed)
        self._programs = Programs(self)
        if model is not None and model.compiled:
            adopt_compilation(self, model)

    @property
    def training_program(self) -> TrainingProgram:
        """The compiled training step, as seen by `Loop` and `NaNGuard`."""
        return self._programs

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure training; arguments of `keras.Model.compile`.

        `jit_compile="auto"`, the default, compiles the steps with XLA if that is
        expected to make them faster: on a GPU, and on a CPU if the step contains no
        convolution or pooling, and no loss or metric declares `supports_jit = False`.
        `True` and `False` force the choice. `loss_weights` may also be arrays and
        integers.
        """
        strategy = self.distribute_strategy
        bind = compile_arguments.bind
        call, choice = bind(super().compile, args, kwargs, strategy)
        legacy_objects.check_layers(self)
        with strategy.scope():
            super().compile(*call.args, **call.kwargs)
        # Keras declines for layers that declare that they cannot be compiled.
        declined = choice is True and not self.jit_compile
        if choice == "auto":
            declined = compile_arguments.decline_xla(call.arguments)
        self._programs.recompile(False if declined else choice)

    def compile_from_config(self, config: Config) -> None:
        """Compile like a saved Trainer; Keras calls this when it loads one."""
        if type(self).compile is not Trainer.compile:
            # Keras says what such a subclass must override.
            super().compile_from_config(config)
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        optimizer = self.optimizer
        # In a Trainer of several networks, only the step knows which variables it
        # serves.
        known = self.built and self._defines_call
        if optimizer is not None and known and not optimizer.built:
            optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> Config | None:
        """Return the arguments of `compile`, with `jit_compile` as given."""
        config: Config | None = super().get_compile_config()
        return config and {**config, "jit_compile": self._programs.jit_choice}

    def get_config(self) -> Config:
        """Return the constructor arguments that were given."""
        config = super().get_config()
        if self.seed is not None:
            config["seed"] = self.seed
        return accepted_config(type(self), Trainer, config)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Make one update and return the logs; called for every batch, traced once.

        Args:
            data: The batch: `x`, `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            Dict from names to scalar tensors: running values of the metrics.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self.forward(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
        hooks.check_loss(self, loss)
        if self.trainable_variables:
            gradients = self.compute_gradients(tape, loss)
            hooks.check_gradients(self, gradients)
            self.update(loss, gradients)
        else:
            warnings.warn("The model has no trainable variables.", stacklevel=2)
        # After the update: by then, `NaNGuard` knows whether the step counts.
        self.track_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def forward(self, x: Any, training: bool) -> Any:
        """Return the predictions; called by all steps, on the tape in `train_step`."""
        check_inputs(getattr(self.model, "inputs", None), x)
        return self(x, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the scalar to minimize; called on the tape, and in `test_step`.

        Args:
            x: The inputs.
            y: The targets.
            y_pred: The predictions.
            sample_weight: Weights of the samples, or `None`.
            training: Whether it is called by `train_step`.

        Returns:
            Keras's loss: that of `compile`, plus whatever was added by `add_loss`.
        """
        loss = getattr(self, "loss", None)
        check_targets(loss, y)
        check_weights(loss, y_pred, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_gradients(
        self, tape: tf.GradientTape, loss: Tensor
    ) -> list[Tensor | None]:
        """Return one gradient per trainable variable; called after the tape.

        Args:
            tape: The tape on which `loss` was computed.
            loss: Scalar.

        Returns:
            Gradients in the order of `self.trainable_variables`; `None` for a variable
            on which the loss does not depend.
        """
        # The optimizer's loss scale, applied where it is exact: at the top of the chain
        # rule, as if the loss had been multiplied by it.
        scale = self.optimizer.scale_loss(loss_share(loss))
        variables = self.trainable_variables
        return summable(tape.gradient(loss, variables, output_gradients=scale))

    def apply_gradients(self, gradients: list[Tensor | None]) -> None:
        """Update the trainable variables; called once per step."""
        self.optimizer.apply(gradients, self.trainable_variables)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Return the logs for one batch of `evaluate`, without an update."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self.forward(x, training=False)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=False)
        self.track_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """Return the predictions for one batch of `predict`."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.forward(x, training=False)

    def step(self, data: Any) -> StepLogs:
        """Run the compiled `train_step` on one batch, in a loop written by hand.

        Eager with `compile(run_eagerly=True)`. The returned values accumulate from call
        to call: `Loop` resets the metrics when an epoch begins; in a loop without it,
        call `reset_metrics`. A change of `trainable` takes effect after the next
        `compile`, as everywhere in Keras.

        Args:
            data: The batch: `x`, `(x, y)` or `(x, y, sample_weight)`, tensors or
                arrays.

        Returns:
            The running values of the metrics, for `Epoch.log`.

        Raises:
            RuntimeError: If the Trainer is not compiled.
        """
        self._require_compiled("step")
        self._programs.metrics.begin_step()
        return StepLogs(self._programs.train.one(data))

    def steps(self, chunk: Chunk) -> StepLogs:
        """Run the compiled `train_step` on every batch of a chunk.

        For loops written by hand that need not see every step, such as `fit`. Makes the
        same updates as `step` on each of the batches.

        Args:
            chunk: Batches, as `Epoch.chunks` yields them.

        Returns:
            The running values of the metrics after the last step, for `Epoch.log`.

        Raises:
            RuntimeError: If the Trainer is not compiled.
        """
        self._require_compiled("steps")
        if not isinstance(chunk, Chunk):
            raise TypeError(
                "`chunk` must be what `Epoch.chunks` yields. Received: "
                f"{type(chunk).__name__}. For a single batch, call `step`."
            )
        self._programs.metrics.begin_step()
        if not chunk.options.keeps_each:
            return StepLogs(self._programs.train.many(chunk))
        each = self._programs.train.each(chunk)
        logs = StepLogs(keras.tree.map_structure(tf.convert_to_tensor, each.logs[-1]))
        logs.each = each
        return logs

    def update(self, loss: Tensor, gradients: list[Tensor | None]) -> None:
        """Call `apply_gradients`, unless `NaNGuard` finds something that is not finite.

        For a custom `train_step`; not a hook.

        Args:
            loss: Scalar.
            gradients: The gradients to pass to `apply_gradients`.
        """
        guard = self._programs.guard
        if guard is None:
            self.apply_gradients(gradients)
        else:
            guard.update(self, loss, gradients)

    def track_loss(self, loss: Tensor, x: Any) -> None:
        """Include `loss` in the running mean that is logged as `loss`.

        For custom steps; not a hook.

        Args:
            loss: Scalar, as `compute_loss` returns it.
            x: The batch's inputs, whose first axis weights the mean.
        """
        self._programs.metrics.tracks_loss = True
        # By name, since Keras has no public attribute for it.
        tracker = next((m for m in self.metrics if m.name == "loss"), None)
        if tracker is None:
            return
        samples = tf.shape(first_tensor(x))[0]
        # Keras divides the loss by the number of replicas, for the gradients.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if self._programs.guard is not None:
            loss, samples = self._programs.guard.counted(loss, samples)
        tracker.update_state(loss * replicas, sample_weight=samples)

    def reset_metrics(self) -> None:
        """Reset the running values of all metrics."""
        super().reset_metrics()
        self._programs.metrics.counted = None

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Verbose = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Shuffle = True,
        class_weight: ClassWeight | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        resident: bool | Literal["auto"] = "auto",
        resume: Resume = False,
    ) -> keras.callbacks.History:
        """Train the model; arguments and result are those of `keras.Model.fit`.

        A loop over `epochs` like one written by hand with `keras_ext.Loop`: `steps` for
        many batches at a time, `evaluate` after every epoch. Unlike in
        `keras.Model.fit`: arrays come in an order that `seed` and the epoch's number
        determine; `verbose="auto"` prints one line per epoch if the output goes to a
        file; callbacks are closed (`on_train_end`) even if an exception ends training;
        a layer frozen since the last `fit` is frozen without another `compile`, which
        unfreezing needs; an epoch without data is an error; `steps_per_execution` is
        not used, since many steps are made per call anyway, unless a callback must be
        notified of every one.

        Args:
            x, y, ..., validation_freq: As in `keras.Model.fit`. `class_weight` may also
                be a list or array by class, or `"balanced"` for arrays, and weights
                every label, including those of steps and pixels.
            resident: Whether arrays are copied to the device as a whole, or some
                batches at a time. `"auto"`: as a whole, unless they are memory-mapped
                or have more than 2 GiB in total. Tensors stay in place.
            resume: Whether to continue a run that `keras_ext.callbacks.Checkpoint` has
                saved, see `keras_ext.Loop`: `True` for the folder of the Checkpoint
                among `callbacks`, or another folder. A run that has ended is not
                repeated; more `epochs` continue it.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            RuntimeError: If the Trainer is not compiled.
            TypeError: If the data is of an unknown type.
            ValueError: If the arguments contradict each other or there is no data.
        """
        with told_of_errors(self.distribute_strategy):
            self._require_compiled("fit")
            warn_of_replaced_fit(self, callbacks)
            if self.model is not self:
                warn_of_another_optimizer(self, self.model, callbacks)
            # Only here: during training, steps remain as traced.
            self._programs.refresh(other_variables_train=True)
            if validation_split and validation_data is None:
                (x, y, sample_weight), validation_data = split_validation(
                    (x, y, sample_weight), validation_split
                )
            seed = seed_of(self.distribute_strategy, self.seed)
            source = fit_source(
                x,
                y,
                sample_weight,
                class_weight=ClassWeights.of_model(class_weight, self.model),
                batch_size=batch_size,
                steps=limited_steps("steps_per_epoch", steps_per_epoch),
                shuffle=shuffle,
                seed=seed,
                resident=resident,
            )
            validation = validation_source(
                validation_data, validation_batch_size, batch_size, validation_steps
            )
            most = debugging_limit("epochs", epochs, keras.config.max_epochs())
            loop = Loop(
                self,
                epochs=most or 0,
                initial_epoch=initial_epoch,
                # Loop rejects 0; data without a batch has its own error.
                steps=source.num_batches or None,
                callbacks=callbacks,
                verbose=verbose,
                seed=seed,
                resume=resume,
            )
            loop.expect(source, validation)
            # Closing the source ends its threads, even if training stops early.
            with loop, contextlib.closing(source):
                for epoch in loop:
                    for chunk in epoch.chunks(source):
                        epoch.log(self.steps(chunk))
                    if epoch.cut_short:
                        continue
                    if validation is not None and is_due(validation_freq, epoch.index):
                        epoch.evaluate(validation)
            # Training is over: an evaluation need not restore its metrics.
            self._programs.metrics.counted = None
            return loop.history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Evaluate the model; arguments and result are `keras.Model.evaluate`'s.

        Unlike there, `verbose="auto"` prints one line into a file, and data without a
        batch is an error. Called during an epoch, by a callback or in the body of a
        loop, it leaves the running metrics of training unchanged.
        """
        self._require_compiled("evaluate")
        # Stock `fit` passes private arguments, which have no meaning here.
        unknown = sorted(name for name in kwargs if not name.startswith("_"))
        if unknown:
            raise TypeError(f"`evaluate` got unknown arguments: {', '.join(unknown)}")
        source = pass_source((x, y, sample_weight), batch_size, steps)
        meet(self.distribute_strategy, "test")
        # The other workers are told first: the metrics are set back after that.
        told = told_of_errors(self.distribute_strategy)
        with self._programs.metrics.another_pass(), told:
            step = self._programs.test
            logs = evaluate(self, step, source, callbacks, verbose)
        return logs if return_dict else in_order(self, logs)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return predictions; arguments and result are `keras.Model.predict`'s.

        Unlike there, `verbose="auto"` prints one line into a file.
        """
        source = pass_source((x, None, None), batch_size, steps)
        meet(self.distribute_strategy, "predict")
        # The other workers are told first: the metrics are set back after that.
        told = told_of_errors(self.distribute_strategy)
        with self._programs.metrics.another_pass(), told:
            step = self._programs.predict
            return predict(self, step, source, callbacks, verbose)

    def make_train_function(self, force: bool = False) -> None:
        """Create the function that Keras's `fit` and `train_on_batch` call."""
        make = super().make_train_function
        keras_functions.install(self, self._programs, "train", make, force=force)

    def make_test_function(self, force: bool = False) -> None:
        """Create the function that Keras's `evaluate` and `test_on_batch` call."""
        make = super().make_test_function
        keras_functions.install(self, self._programs, "test", make, force=force)

    def make_predict_function(self, force: bool = False) -> Any:
        """Create the function that Keras's `predict` and `predict_on_batch` call."""
        make = super().make_predict_function
        return keras_functions.install(
            self, self._programs, "predict", make, force=force
        )

    def _require_compiled(self, method: str) -> None:
        if not self.compiled:
            raise RuntimeError(
                f"`{type(self).__name__}.{method}` needs a compiled Trainer. Call "
                "`compile(optimizer=..., loss=...)` first."
            )
