"""Many steps per call: the numbers of stock `fit`, however the steps are cut."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.callbacks import LearningRateScheduler
from keras_ext.training.loop import run as run_module
from keras_ext.training.loop.chunk_sizer import ChunkSizer
from tests.training.problems import CLASSIFY

_rng = np.random.default_rng(0)
X = _rng.normal(size=(3200, 12)).astype("float32")
Y = (X @ _rng.normal(size=(12, 4))).argmax(axis=1)
STEPS = {"batch_size": 16, "verbose": 0, "shuffle": False}  # 200 of them

optimizers = keras.optimizers
schedules = keras.optimizers.schedules

OPTIMIZERS = {
    name: getattr(optimizers, name)
    for name in sorted(vars(optimizers))
    if isinstance(getattr(optimizers, name), type)
    and issubclass(getattr(optimizers, name), optimizers.Optimizer)
    and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
} | {
    "clipnorm": lambda: optimizers.Adam(clipnorm=0.1),
    "global_clipnorm": lambda: optimizers.SGD(0.1, global_clipnorm=0.1),
    "clipvalue": lambda: optimizers.Adam(clipvalue=0.01),
    "weight decay": lambda: optimizers.AdamW(weight_decay=0.1),
    "ema": lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=7),
    "loss scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam()),
    "schedule": lambda: optimizers.Adam(
        schedules.CosineDecay(0.01, 150, warmup_steps=20, warmup_target=0.02)
    ),
    "accumulation": lambda: optimizers.SGD(0.05, gradient_accumulation_steps=3),
}
JUMPY = ("Lion", "Muon")
"""Small differences in the gradient make large ones in the update."""


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )


def noisy_network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.GaussianNoise(0.1, seed=2),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.3, seed=1),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )


def image_network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Reshape((3, 4, 1)),
            keras.layers.RandomFlip(seed=1),
            keras.layers.RandomTranslation(0.3, 0.3, seed=2),
            keras.layers.Conv2D(4, 2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )


def stock(model, optimizer, **arguments):
    model.compile(optimizer, **CLASSIFY)
    # Built in the first step, ScheduleFreeAdamW would start from zero in every one.
    model.optimizer.build(model.trainable_variables)
    return model.fit(X, Y, **STEPS, **arguments)


def ours(model, optimizer, jit_compile="auto", **arguments):
    trainer = Trainer(model, seed=1)
    trainer.compile(optimizer, jit_compile=jit_compile, **CLASSIFY)
    history = trainer.fit(X, Y, **{**STEPS, **arguments})
    return trainer, history


def values_of(variables):
    return [np.array(variable.value) for variable in variables]


@functools.cache
def by_stock(name):
    """Return weights, slots and losses of stock `fit`; graph and XLA ask for them."""
    model = network()
    history = stock(model, OPTIMIZERS[name]())
    slots = values_of(model.optimizer.variables)
    return values_of(model.weights), slots, history.history["loss"]


def assert_close(model, expected, tolerance):
    for actual, b in zip(model.weights, expected, strict=True):
        a = np.asarray(actual.value)
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b), actual.path


def assert_equal(values, others):
    for value, other in zip(values, others, strict=True):
        np.testing.assert_array_equal(value, other)


BROKEN = {"Muon"} if keras.__version__.startswith("3.12.") else set()
"""What fails in stock `fit` already: Muon asks a TensorFlow variable for its path."""


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in BROKEN])
def test_graph_gives_the_weights_of_stock_fit(name):
    weights, stock_slots, losses = by_stock(name)
    trainer, own = ours(network(), OPTIMIZERS[name](), jit_compile=False)
    assert_close(trainer.model, weights, 1e-6)
    assert own.history["loss"] == pytest.approx(losses, rel=1e-6)
    slots = trainer.optimizer.variables
    assert [v.shape for v in slots] == [wanted.shape for wanted in stock_slots]
    for slot, wanted in zip(slots, stock_slots, strict=True):
        np.testing.assert_allclose(slot.value, wanted, rtol=1e-5, atol=1e-7)


# Those that most people use. The graph makes all of them equal, below.
COMMON = ("Adam", "AdamW", "RMSprop", "SGD", "schedule", "loss scale", "ema")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in COMMON else pytest.mark.long)
        for name in OPTIMIZERS
        if name not in JUMPY
    ],
)
def test_xla_gives_the_weights_of_stock_fit(name):
    weights, _, losses = by_stock(name)
    trainer, own = ours(network(), OPTIMIZERS[name](), jit_compile=True)
    assert_close(trainer.model, weights, 1e-5)
    assert own.history["loss"] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("make", [noisy_network, image_network])
def test_graph_draws_what_stock_fit_draws(make):
    expected, model = make(), make()
    stock(expected, "adam")
    ours(model, "adam", jit_compile=False)
    assert_close(model, values_of(expected.weights), 1e-6)
    states = [
        [s.state.value for s in m.layers if hasattr(s, "state")]
        for m in (model, expected)
    ]
    assert_equal(*states)


def test_seed_generators_advance_as_in_stock_fit():
    expected, model = noisy_network(), noisy_network()
    stock(expected, "adam")
    ours(model, "adam", jit_compile=True)
    seeds = [
        [np.asarray(v.value) for v in m.variables if "seed" in v.path]
        for m in (model, expected)
    ]
    assert seeds[0]
    assert_equal(*seeds)


class _Paced(ChunkSizer):
    """Makes a fixed number of steps per call."""

    fixed = 1

    @property
    def steps(self):
        return self.fixed


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("make", [network, noisy_network])
def test_cutting_changes_no_bit(monkeypatch, make, jit_compile):
    monkeypatch.setattr(run_module, "ChunkSizer", _Paced)

    def run(steps):
        monkeypatch.setattr(_Paced, "fixed", steps)
        trainer, history = ours(
            make(), "adam", jit_compile, batch_size=90, epochs=3, shuffle=True
        )
        variables = [*trainer.model.variables, *trainer.optimizer.variables]
        return [np.asarray(v.value) for v in variables], history.history

    weights, history = run(1)
    for steps in (7, 1000):
        others, log = run(steps)
        assert_equal(weights, others)
        assert log == history


class _EveryBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_callback_for_every_batch_changes_no_bit(jit_compile):
    many, _ = ours(noisy_network(), "adam", jit_compile)
    single, _ = ours(noisy_network(), "adam", jit_compile, callbacks=[_EveryBatch()])
    assert_equal(many.get_weights(), single.get_weights())


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_schedule_in_a_callback_is_that_of_the_optimizer(jit_compile):
    schedule = schedules.CosineDecay(0.1, 150, warmup_steps=20, warmup_target=0.2)
    held, _ = ours(network(), optimizers.SGD(schedule), jit_compile)
    callback = LearningRateScheduler(schedule, update_freq="batch")
    set_, _ = ours(network(), optimizers.SGD(1.0), jit_compile, callbacks=[callback])
    assert callback.batch_hook_freq == "epoch"
    assert_close(
        set_.model, values_of(held.model.weights), 1e-6 if jit_compile else 0.0
    )


def test_a_loop_of_chunks_is_fit():
    fitted, history = ours(noisy_network(), "adam", shuffle=True, epochs=2)
    trainer = Trainer(noisy_network())
    trainer.compile("adam", **CLASSIFY)
    loop = Loop(trainer, epochs=2, verbose=0, seed=1)
    for epoch in loop:
        for chunk in epoch.chunks((X, Y), batch_size=16):
            epoch.log(trainer.steps(chunk))
    assert_equal(trainer.get_weights(), fitted.get_weights())
    assert loop.history.history == history.history


class Counting(Trainer):
    """Counts how often its steps are traced."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.traced = []

    def train_step(self, data):
        self.traced.append("train")
        return super().train_step(data)

    def test_step(self, data):
        self.traced.append("test")
        return super().test_step(data)

    def predict_step(self, data):
        self.traced.append("predict")
        return super().predict_step(data)


STEPS_OF_A_TRAINER = ["predict", "test", "train"]


def counting(**arguments):
    trainer = Counting(network())
    trainer.compile(optimizers.SGD(0.1), **CLASSIFY, **arguments)
    trainer.optimizer.build(trainer.trainable_variables)
    trainer.compute_metrics(X[:1], Y[:1], trainer(X[:1]))
    return trainer


@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_trace_for_all_sizes(jit_compile):
    trainer = counting(jit_compile=jit_compile)
    for samples, batch_size in [(70, 32), (64, 32), (70, 7), (8, 16), (999, 10)]:
        data = {"x": X[:samples], "y": Y[:samples], "batch_size": batch_size}
        trainer.fit(**data, epochs=2, verbose=0, validation_data=(X[:30], Y[:30]))
        trainer.evaluate(**data, verbose=0)
        trainer.predict(data["x"], batch_size, verbose=0)
        trainer.step((X[:samples], Y[:samples]))
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    trainer.fit(dataset, epochs=2, verbose=0)
    # With XLA, one for it, and one to see what the step is made of.
    assert sorted(trainer.traced) == sorted(STEPS_OF_A_TRAINER * (1 + jit_compile))


def test_compiling_again_traces_again():
    trainer = counting()
    trainer.fit(X, Y, verbose=0)
    trainer.compile(optimizers.SGD(0.0), **CLASSIFY)
    before = trainer.get_weights()
    trainer.fit(X, Y, verbose=0)
    assert_equal(trainer.get_weights()[:2], before[:2])
    assert trainer.traced.count("train") >= 2


@pytest.mark.parametrize("jit_compile", [False, True])
def test_other_shapes_are_traced_a_bounded_number_of_times(jit_compile):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1),
        ]
    )
    trainer = Counting(model)
    trainer.compile("sgd", "mse", jit_compile=jit_compile)
    for length in (4, 5, 6, 7, 8, 9):
        trainer.fit(np.ones((8, length, 3)), np.ones((8, 1)), 3, verbose=0)
        trainer.predict(np.ones((8, length, 3)), 3, verbose=0)
    assert trainer.traced.count("train") <= 3 * (1 + jit_compile)


def test_metrics_are_read_once_per_call(monkeypatch):
    monkeypatch.setattr(run_module, "ChunkSizer", _Paced)
    monkeypatch.setattr(_Paced, "fixed", 50)
    calls = []
    make_steps = Trainer.steps

    def steps(self, chunk):
        calls.append(len(chunk))
        return make_steps(self, chunk)

    monkeypatch.setattr(Trainer, "steps", steps)
    ours(network(), "sgd", epochs=2)
    assert calls == [50] * 8


def test_stopping_in_the_middle_of_an_epoch(monkeypatch):
    monkeypatch.setattr(run_module, "ChunkSizer", _Paced)
    monkeypatch.setattr(_Paced, "fixed", 10)

    class Stop(keras.callbacks.Callback):
        batch_hook_freq = "epoch"

        def on_train_batch_end(self, batch, logs=None):
            if batch >= 25:
                self.model.stop_training = True

    trainer, _ = ours(network(), "sgd", callbacks=[Stop()])
    assert int(trainer.optimizer.iterations) == 30


def test_uint8_reaches_the_model_as_it_is():
    seen = []

    class Look(Trainer):
        def train_step(self, data):
            seen.append(data[0].dtype)
            return super().train_step(data)

    keras.utils.set_random_seed(0)
    trainer = Look(keras.Sequential([keras.layers.Dense(1)]))
    trainer.compile("sgd", "mse")
    trainer.fit(np.ones((8, 2), "uint8"), np.ones((8, 1)), verbose=0)
    assert set(seen) == {tf.uint8}


class _Torn(schedules.LearningRateSchedule):
    """Has no rate at one step."""

    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        return keras.ops.where(step == 5, self.value, 0.01)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_rate_that_is_none_is_found_after_the_call(monkeypatch, value):
    monkeypatch.setattr(run_module, "ChunkSizer", _Paced)
    monkeypatch.setattr(_Paced, "fixed", 10)
    callback = LearningRateScheduler(_Torn(value), update_freq="batch")
    with pytest.raises(ValueError, match="must return a finite, non-negative number"):
        ours(network(), "sgd", callbacks=[callback])
