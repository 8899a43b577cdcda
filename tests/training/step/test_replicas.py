"""Several replicas: the same numbers as one device with the same batches."""

import json

import pytest

from tests.programs import printed

pytestmark = pytest.mark.early

CODE = """
import contextlib, json, sys, tempfile
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)

import keras
import numpy as np
import scipy.sparse
import keras_ext
from keras_ext.training.data.tensors import to_tensor
from tests.training.problems import CLASSIFY, LABELS, X, dataset
from tests.training.problems import with_nothing_but_extra_loss

# A sample alone in the last batch: one replica has none.
X, LABELS = X[:65], LABELS[:65]


def network(sparse=False):
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((6,), sparse=sparse),
            keras.layers.Dense(16, activation="relu", kernel_regularizer="l2"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


class EveryBatch(keras.callbacks.Callback):
    # Hears of every batch, and evaluates in the middle of an epoch.

    def on_train_batch_end(self, batch, logs=None):
        if batch in (1, 2):
            self.model.evaluate(X[:21], LABELS[:21], verbose=0)


class Samples(keras.metrics.Metric):
    # A sum of integers, of which every replica has its part.

    def __init__(self):
        super().__init__(name="samples")
        self.count = self.add_variable((), "zeros", "int32", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(keras.ops.shape(y_pred)[0])

    def result(self):
        return keras.ops.cast(self.count, "float32")


def train(strategy, drive):
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = MODELS.get(drive, network)()
        trainer = KINDS.get(drive, keras_ext.Trainer)(model, seed=1)
        make_optimizer = OPTIMIZERS.get(drive, keras.optimizers.Adam)
        options = {} if drive is added else {**CLASSIFY, "metrics": ["accuracy"]}
        if drive is step_by_step:
            options["metrics"].append(Samples())
        trainer.compile(make_optimizer(0.01), **options)
    return {**drive(trainer), "weights": trainer.get_weights()}


def arrays(trainer):
    history = trainer.fit(X, LABELS, batch_size=16, epochs=3, verbose=0)
    return history.history


def step_by_step(trainer):
    hear = [EveryBatch()]
    history = trainer.fit(
        X, LABELS, batch_size=16, epochs=3, verbose=0, callbacks=hear
    )
    return history.history


def data(trainer):
    return trainer.fit(dataset(), epochs=3, verbose=0).history


def distributed(trainer):
    train, test = dataset(), dataset().map(lambda x, y: x)
    strategy = trainer.distribute_strategy
    if strategy.num_replicas_in_sync > 1:
        train, test = map(strategy.experimental_distribute_dataset, (train, test))
    history = trainer.fit(train, validation_data=train, epochs=2, verbose=0)
    return {**history.history, "predicted": trainer.predict(test, verbose=0)}


def loop(trainer):
    loop = keras_ext.Loop(trainer, epochs=3, verbose=0, seed=1)
    for epoch in loop:
        for batch in epoch.batches((X, LABELS), 16):
            epoch.log(trainer.step(batch))
    return loop.history.history


def weighted(trainer):
    weights = np.linspace(0, 2, 65)
    history = trainer.fit(
        X,
        LABELS,
        batch_size=13,
        sample_weight=weights,
        validation_data=(X[:21], LABELS[:21]),
        validation_batch_size=8,
        verbose=0,
    )
    evaluated = trainer.evaluate(X, LABELS, batch_size=9, verbose=0, return_dict=True)
    predicted = trainer.predict(X, batch_size=16, verbose=0)
    return {**history.history, **evaluated, "predicted": predicted}


def sparse(trainer):
    data = scipy.sparse.csr_matrix(np.where(X > 0.5, X, 0))
    history = trainer.fit(data, LABELS, batch_size=16, epochs=2, verbose=0).history
    predicted = trainer.predict(data, batch_size=16, verbose=0)
    # TensorFlow cannot cut a single sparse sample in two.
    samples = to_tensor(data[:64]), LABELS[:64]
    batches = tf.data.Dataset.from_tensor_slices(samples).batch(16)
    batches = trainer.distribute_strategy.experimental_distribute_dataset(batches)
    evaluated = trainer.evaluate(batches, verbose=0, return_dict=True)
    return {**history, "predicted": predicted, "evaluated": list(evaluated.values())}


def averaged(trainer):
    average = keras_ext.callbacks.WeightAveraging(decay=0.9, start_epoch=1)
    options = {"validation_data": (X[:21], LABELS[:21]), "callbacks": [average]}
    return trainer.fit(X, LABELS, 16, 3, verbose=0, **options).history


def hooked(trainer):
    # Hooks around every step, of odd batches out of a generator, too.
    def batches():
        for first in (0, 16, 32, 35, 51) * 2:
            end = min(first + 16, 35 if first == 32 else 65)
            yield X[first:end], LABELS[first:end]

    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.8)
    callbacks = [
        keras_ext.callbacks.LearningRateScheduler(schedule, update_freq="batch"),
        keras_ext.callbacks.WeightAveraging(decay=0.9),
    ]
    options = {"steps_per_epoch": 5, "epochs": 2, "callbacks": callbacks}
    return trainer.fit(batches(), verbose=0, **options).history


def added(trainer):
    return trainer.fit(X[:64], batch_size=16, epochs=3, verbose=0).history


def uphill(trainer):
    return arrays(trainer)


def ahead(trainer):
    return arrays(trainer)


class OwnStep(keras_ext.Trainer):
    def train_step(self, data):
        return super().train_step(data)


class OwnUpdate(keras_ext.Trainer):
    def apply_gradients(self, gradients):
        super().apply_gradients(gradients)


def overridden(trainer):
    return arrays(trainer)


def updated(trainer):
    return arrays(trainer)


def continued(trainer):
    # A loop that continues: the optimizer gets its variables outside the scope.
    folder = tempfile.mkdtemp()
    history = {}
    for epochs in (1, 3):
        with trainer.distribute_strategy.scope():
            one = keras_ext.Trainer(network(), seed=1)
            one.compile(keras.optimizers.Adam(0.01), **CLASSIFY)
        saved = keras_ext.callbacks.Checkpoint(folder)
        loop = keras_ext.Loop(
            one, epochs=epochs, verbose=0, seed=1, callbacks=[saved], resume=True
        )
        for epoch in loop:
            for chunk in epoch.chunks((X, LABELS), 16):
                epoch.log(one.steps(chunk))
    return {**loop.history.history, "continued": one.get_weights()}


def lazily(trainer):
    # The same rows on both replicas, on one of them, and on neither.
    return arrays(trainer)


def normalized(trainer):
    return arrays(trainer)


def look_ahead(rate):
    inner = keras_ext.optimizers.RectifiedAdam(rate, weight_decay=0.1)
    return keras_ext.optimizers.Lookahead(inner, 3)


def lazy_adam(rate):
    return keras_ext.optimizers.LazyAdam(rate, weight_decay=0.1, amsgrad=True)


def embedding():
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Discretization(np.linspace(-2, 2, 99).tolist()),
            keras.layers.Embedding(100, 4),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


MODELS = {added: with_nothing_but_extra_loss, sparse: lambda: network(sparse=True)}
MODELS |= {lazily: embedding}
KINDS = {
    uphill: keras_ext.SharpnessAwareTrainer,
    overridden: OwnStep,
    updated: OwnUpdate,
}
OPTIMIZERS = {
    ahead: look_ahead,
    lazily: lazy_adam,
    normalized: keras_ext.optimizers.NovoGrad,
}
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
DRIVES = (arrays, step_by_step, data, distributed, loop, weighted, sparse)
DRIVES += (averaged, hooked, added, uphill, overridden, updated, continued)
for drive in (*DRIVES, ahead, lazily, normalized):
    one, two = train(None, drive), train(strategy, drive)
    assert one.keys() == two.keys(), (one.keys(), two.keys())
    differences = {
        name: max(
            float(np.abs(np.asarray(a) - np.asarray(b)).max())
            for a, b in zip(*(keras.tree.flatten(run[name]) for run in (one, two)))
        )
        for name in one
    }
    print(json.dumps([drive.__name__, differences]))


class Interrupt(keras_ext.callbacks.TrainingCallback):
    # In the middle of the second epoch.

    def __init__(self):
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.request = "interrupt" if (self.epoch, batch) == (1, 2) else None


def saved(folder, *others):
    # Another process draws other numbers, until it continues the run.
    keras.utils.set_random_seed(1 + len(others))
    with strategy.scope():
        trainer = keras_ext.Trainer(network(), seed=1)
        options = {**CLASSIFY, "metrics": ["accuracy", Samples()]}
        trainer.compile(keras.optimizers.Adam(0.01), **options)
    callbacks = [keras_ext.callbacks.Checkpoint(folder), *others]
    options = {"verbose": 0, "resume": True, "callbacks": callbacks}
    history = trainer.fit(X, LABELS, 16, 3, **options).history
    values = [*trainer.get_weights(), *trainer.optimizer.variables]
    return history, [np.asarray(value).tobytes().hex() for value in values]


whole, folder = saved(tempfile.mkdtemp()), tempfile.mkdtemp()
left, _ = saved(folder, Interrupt())
print(json.dumps(["interrupted", [whole, saved(folder), left]]))
"""


@pytest.fixture(scope="module")
def differences():
    lines = printed("-c", CODE).splitlines()
    return dict(map(json.loads, lines))


@pytest.mark.parametrize(
    "drive",
    [
        "arrays",
        "step_by_step",
        "data",
        "distributed",
        "loop",
        "weighted",
        "sparse",
        "averaged",
        "hooked",
        "added",
        "uphill",
        "overridden",
        "updated",
        "continued",
        "ahead",
        "lazily",
        "normalized",
    ],
)
def test_two_replicas_compute_what_one_does(differences, drive):
    assert "weights" in differences[drive]
    assert max(differences[drive].values()) <= 1e-6, differences[drive]


def test_an_interrupted_run_is_continued_to_the_bit(differences):
    """With what each replica has added up for the metrics, and not an even share."""
    whole, continued, left = differences["interrupted"]
    assert continued == whole
    assert len(left["loss"]) == 1
    assert len(whole[0]["loss"]) == 3
