"""What two workers do in the tests: each way to train, and to fail, one by one.

Run as a program in each worker; it prints a line of JSON for each scenario, with what
came of it: weights, History, calls, or the error. Imported by the test, it does the
same alone.
"""

import json
import os
import random
import time

import tensorflow as tf

ALONE = '{"task": {"index": 0}}'
INDEX = json.loads(os.environ.get("TF_CONFIG", ALONE))["task"]["index"]
STRATEGY = (
    tf.distribute.MultiWorkerMirroredStrategy()
    if "TF_CONFIG" in os.environ
    else tf.distribute.get_strategy()
)

import keras  # noqa: E402 - the strategy must be the first
import numpy as np  # noqa: E402

import keras_ext  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6)).astype("float32")
Y = RNG.integers(0, 3, size=120)
SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


def make(seed=1):
    keras.utils.set_random_seed(5)
    with STRATEGY.scope():
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(3, kernel_regularizer="l2")]
        )
        trainer = keras_ext.Trainer(model, seed=seed)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trainer.compile(keras.optimizers.SGD(0.1), loss=loss, metrics=["accuracy"])
    return trainer


def dataset(batch_size=4):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(batch_size)


class Calls(keras.callbacks.Callback):
    """Is called after each batch."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)


class At(keras.callbacks.Callback):
    """Does something at a batch of the first epoch."""

    batch_hook_freq = "epoch"

    def __init__(self, batch, action):
        super().__init__()
        self._batch, self._action = batch, action

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self._batch:
            self._action(self.model)


def fit(trainer, *args, **kwargs):
    # An agreement per call of many steps: one per step would take long.
    kwargs = {"epochs": 2, "verbose": 0, **kwargs}
    history = trainer.fit(*args, **kwargs).history
    return {"history": history, "weights": trainer.get_weights()[0].tolist()}


@scenario
def arrays():
    class Slow(keras.callbacks.Callback):
        """Lets the second worker fall behind the first."""

        batch_hook_freq = "epoch"

        def on_train_batch_end(self, batch, logs=None):
            time.sleep(0.03 * INDEX)

    return fit(make(), X, Y, batch_size=4, callbacks=[Slow()])


@scenario
def quick_dataset():
    """Read from memory, in stacks that a clock would end anywhere."""
    images = np.zeros((9600, 28, 28), "float32")
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(9600))).batch(32)
    keras.utils.set_random_seed(5)
    with STRATEGY.scope():
        layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
        trainer = keras_ext.Trainer(keras.Sequential([keras.Input((28, 28)), *layers]))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trainer.compile("sgd", loss=loss)
    return fit(trainer, data)


@scenario
def slow_dataset():
    """Batches that take longer on one worker."""

    def wait(x, y):
        tf.py_function(lambda: time.sleep(0.004 * (1 + 3 * INDEX)), [], [])
        return x, y

    return fit(make(), dataset().map(wait))


@scenario
def odd_batches():
    return fit(make(), dataset(7))


@scenario
def generator():
    def batches():
        while True:
            for start in range(0, 120, 4):
                time.sleep(0.001 * INDEX)
                yield X[start : start + 4], Y[start : start + 4]

    return fit(make(), batches(), steps_per_epoch=30)


@scenario
def called_after_each_batch_on_the_first_only():
    calls = Calls()
    result = fit(make(), dataset(), callbacks=[calls] if INDEX == 0 else [])
    return {**result, "calls": len(calls.batches)}


@scenario
def replayed_on_the_second_only():
    calls = Calls()
    replayed = [keras_ext.callbacks.Replay(calls)] if INDEX == 1 else []
    result = fit(make(), X, Y, batch_size=4, callbacks=replayed)
    return {**result, "calls": len(calls.batches)}


@scenario
def stopped_by_the_second():
    def stop(trainer):
        trainer.stop_training = INDEX == 1

    return fit(make(), X, Y, batch_size=1, epochs=3, callbacks=[At(3, stop)])


@scenario
def stopped_by_the_second_at_the_end_of_an_epoch():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = INDEX == 1

    return fit(make(), X, Y, epochs=3, callbacks=[Stop()])


@scenario
def a_loop_by_hand():
    trainer = make()
    with keras_ext.Loop(trainer, epochs=3, seed=1, verbose=0) as loop:
        for epoch in loop:
            for batch in epoch.batches((X, Y), batch_size=24):
                epoch.log(trainer.step(batch))
                if INDEX == 1 and epoch.step == 3:
                    loop.stop_training = True
    return {
        "history": loop.history.history,
        "steps": int(trainer.optimizer.iterations.numpy()),
    }


@scenario
def evaluated_and_predicted():
    trainer = make()
    calls = Calls()

    class Each(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            calls.batches.append(batch)
            # Only one of them wants to stop.
            self.model.stop_evaluating = INDEX == 1 and batch == 20

    each = [Each()] if INDEX == 1 else []
    stopped = trainer.evaluate(dataset(), verbose=0, callbacks=each)
    return {
        "all": trainer.evaluate(X, Y, batch_size=9, verbose=0),
        "stopped": stopped,
        "predicted": trainer.predict(dataset(7), verbose=0).tolist(),
        "calls": len(calls.batches),
    }


@scenario
def files():
    """Each is written once; a callback of the user's is called on the first only."""
    folder, trainer, calls = os.environ["FOLDER"], make(), Calls()
    callbacks = [
        keras_ext.callbacks.CSVLogger(f"{folder}/ours.csv"),
        keras.callbacks.CSVLogger(f"{folder}/keras.csv"),
        keras.callbacks.ModelCheckpoint(f"{folder}/{{epoch}}.keras"),
        keras.callbacks.ModelCheckpoint(
            f"{folder}/{{epoch}}.weights.h5", save_weights_only=True
        ),
        keras.callbacks.TensorBoard(f"{folder}/board", histogram_freq=1),
        keras_ext.callbacks.OnChief(keras_ext.callbacks.Replay(calls)),
    ]
    data = {"batch_size": 4, "validation_data": (X, Y), "callbacks": callbacks}
    result = fit(trainer, X, Y, **data)
    trainer.evaluate(X, Y, verbose=0, callbacks=callbacks[-2:])
    return {**result, "calls": len(calls.batches)}


class Requesting(keras_ext.callbacks.TrainingCallback):
    """Requests something once, after a batch, in the second worker."""

    batch_hook_freq = "epoch"

    def __init__(self, request, batch=20):
        super().__init__()
        self._wanted, self._batch = request, batch

    def on_train_batch_end(self, batch, logs=None):
        if INDEX == 1 and batch >= self._batch and self._wanted:
            self.request, self._wanted = self._wanted, None

    def get_state(self):
        return {}  # a run that was rolled back would be again

    def set_state(self, state):
        pass


def saved(name, *callbacks, folder=None, **options):
    folder = folder or os.environ["FOLDER"]
    # Calls of a few steps, so that some follow the request.
    callbacks = [
        keras_ext.callbacks.Checkpoint(f"{folder}/{name}", save_freq=10),
        keras_ext.callbacks.CSVLogger(f"{folder}/{name}.csv"),
        *callbacks,
    ]
    return fit(make(), X, Y, batch_size=4, callbacks=callbacks, resume=True, **options)


@scenario
def interrupted_by_the_second():
    first = saved("interrupted", Requesting("interrupt"))
    second = saved("interrupted")
    return {**second, "first": first["history"], "whole": saved("whole")}


@scenario
def rolled_back_by_the_second():
    return saved("rolled_back", Requesting("roll_back"))


@scenario
def discarded_by_the_second():
    result = saved("discarded", Requesting("discard"))
    return {**result, "left": os.listdir(f"{os.environ['FOLDER']}/discarded")}


@scenario
def other_folders():
    folder = f"{os.environ['FOLDER']}/{INDEX}"
    saved("own", folder=folder, epochs=1)
    return saved("own", folder=folder)


@scenario
def a_finished_run():
    """The folder of a run that has ended: nothing is left to do."""
    result = saved("interrupted")
    names = os.listdir(f"{os.environ['FOLDER']}/interrupted")
    return {**result, "left": sum(name.endswith(".index") for name in names)}


@scenario
def the_run_of_another_model():
    with STRATEGY.scope():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
        trainer = keras_ext.Trainer(model, seed=1)
        trainer.compile("sgd", loss="mse")
    checkpoint = keras_ext.callbacks.Checkpoint(f"{os.environ['FOLDER']}/interrupted")
    return fit(trainer, X, Y, callbacks=[checkpoint], resume=True)


@scenario
def saved_by_the_clock_of_the_second():
    folder = f"{os.environ['FOLDER']}/clock"
    checkpoint = keras_ext.callbacks.Checkpoint(
        folder, save_freq="1s" if INDEX else "1h", max_to_keep=None
    )

    class Slow(keras.callbacks.Callback):
        batch_hook_freq = 10

        def on_train_batch_end(self, batch, logs=None):
            if batch == 9:
                time.sleep(1.1)

    result = fit(make(), X, Y, batch_size=4, callbacks=[checkpoint, Slow()])
    return {**result, "left": sorted(os.listdir(folder))}


@scenario
def no_seed():
    trainer = make(seed=None)
    random.seed(INDEX)
    return fit(trainer, X, Y)


@scenario
def other_seeds():
    return fit(make(seed=INDEX), X, Y)


@scenario
def other_lengths():
    return fit(make(), X[: 120 - 40 * INDEX], Y[: 120 - 40 * INDEX], batch_size=4)


@scenario
def other_lengths_of_a_dataset():
    return fit(make(), dataset().take(30 - INDEX))


@scenario
def raised_in_a_callback_of_the_second():
    def fail(trainer):
        if INDEX == 1:
            raise OSError("the disk of this worker is full")

    return fit(make(), X, Y, batch_size=1, callbacks=[At(3, fail)])


@scenario
def raised_in_the_data_of_the_second():
    def batches():
        for start in range(0, 120, 4):
            if INDEX == 1 and start == 80:
                raise OSError("a file of this worker is missing")
            yield X[start : start + 4], Y[start : start + 4]

    return fit(make(), batches())


@scenario
def raised_in_an_evaluation_of_the_first():
    class Fail(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            if INDEX == 0:
                raise OSError("no evaluation")

    return fit(make(), X, Y, validation_data=(X, Y), callbacks=[Fail()])


@scenario
def refused_by_the_first():
    return fit(make(), X, Y, batch_size=0 if INDEX == 0 else 4)


@scenario
def trained_after_all_that():
    return fit(make(), X, Y, batch_size=4)


def main():
    for one in SCENARIOS:
        begin = time.monotonic()
        try:
            result = one()
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        seconds = time.monotonic() - begin
        print(json.dumps([one.__name__, result, seconds]), flush=True)


if __name__ == "__main__":
    main()
