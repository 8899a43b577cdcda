"""What `resume`, `state` and `Checkpoint` refuse, and what they leave alone."""

import os
import signal

import keras
import numpy as np
import pytest

import keras_ext
from keras_ext.callbacks import Checkpoint

pytestmark = pytest.mark.once

X, Y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")


def model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def trainer():
    made = keras_ext.Trainer(model(), seed=0)
    made.compile("sgd", loss="mse")
    return made


@pytest.mark.parametrize("name", ["model", "optimizer", "metrics", "step"])
def test_names_that_the_run_has_itself(name):
    mean = keras.metrics.Mean()
    with pytest.raises(ValueError, match=f"must not use the name '{name}'"):
        keras_ext.Loop(model(), state={name: mean})


def test_objects_that_can_only_take_a_state():
    class Half:
        def set_state(self, state):
            pass

    with pytest.raises(TypeError, match="neither variables nor the methods"):
        keras_ext.Loop(model(), state={"half": Half()})


@pytest.mark.parametrize("folder", ["gs://bucket/run", "s3://bucket/run"])
def test_addresses_are_no_folders(folder):
    with pytest.raises(ValueError, match="local file system"):
        Checkpoint(folder)


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGKILL), 15, (10**6,)])
def test_signals_that_nobody_hears(signals, tmp_path):
    with pytest.raises(ValueError, match="sequence of signals that can be handled"):
        Checkpoint(tmp_path, signals=signals)


def test_an_ignored_signal_stays_ignored(tmp_path):
    class Send(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        callbacks = [Checkpoint(tmp_path, signals=[signal.SIGUSR1]), Send()]
        history = trainer().fit(X, Y, epochs=2, verbose=0, callbacks=callbacks)
        assert history.epoch == [0, 1]
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_folder_of_stock_fit_cannot_be_continued_exactly(tmp_path):
    stock = model()
    stock.compile("sgd", loss="mse")
    stock.fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(ValueError, match=r"was saved in keras\.Model\.fit"):
        trainer().fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path)], resume=True)


def test_a_state_that_is_no_plain_data_is_named(tmp_path):
    class Odd(keras.callbacks.Callback):
        def get_state(self):
            return {"model": object()}

        def set_state(self, state):
            pass

    with pytest.raises(
        TypeError, match="The state of the callback Odd cannot be saved"
    ):
        trainer().fit(X, Y, verbose=0, callbacks=[Odd(), Checkpoint(tmp_path)])


def test_arguments_given_now_count(tmp_path):
    class Path(keras.callbacks.Callback):
        def __init__(self, path):
            super().__init__()
            self._path = path
            self.seen = 0

        def on_epoch_end(self, epoch, logs=None):
            self.seen += 1

    first, second = Path("first"), Path("second")
    trainer().fit(X, Y, verbose=0, callbacks=[first, Checkpoint(tmp_path)])
    trainer().fit(
        X, Y, epochs=3, verbose=0, callbacks=[second, Checkpoint(tmp_path)], resume=True
    )
    assert (second._path, second.seen) == ("second", 3)


def test_a_pass_that_was_left_is_not_made_again(tmp_path):
    class Send(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)

    def run(callbacks):
        made = trainer()
        loop = keras_ext.Loop(
            made, epochs=1, verbose=0, callbacks=callbacks, resume=True
        )
        for epoch in loop:
            for batch in epoch.batches((X, Y), 2):
                epoch.log(made.step(batch))
                if epoch.step == 2:
                    break
            epoch.evaluate((X, Y))
        return made

    with pytest.raises(SystemExit, match="SIGTERM: the run is saved"):
        run([Checkpoint(tmp_path), Send()])
    assert run([Checkpoint(tmp_path)]).optimizer.iterations == 2


def test_an_evaluation_that_was_left_draws_the_same_numbers_again(tmp_path):
    class Noise(keras.layers.Layer):
        """Draws random numbers in inference, too."""

        def __init__(self):
            super().__init__()
            self.generator = keras.random.SeedGenerator(3)

        def call(self, inputs):
            noise = keras.random.normal(keras.ops.shape(inputs), seed=self.generator)
            return inputs + noise

    class Send(keras.callbacks.Callback):
        batch_hook_freq = 1

        def on_test_batch_end(self, batch, logs=None):
            if batch == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    def run(callbacks, resume=True):
        keras.utils.set_random_seed(1)
        layers = [keras.Input((2,)), Noise(), keras.layers.Dense(1)]
        made = keras_ext.Trainer(keras.Sequential(layers), seed=0)
        made.compile("sgd", loss="mse")
        return made.fit(
            X,
            Y,
            batch_size=2,
            epochs=2,
            verbose=0,
            validation_data=(X, Y),
            callbacks=callbacks,
            resume=resume,
        ).history

    with pytest.raises(SystemExit, match="SIGTERM: the run is saved"):
        run([Send(), Checkpoint(tmp_path)])
    assert run([Checkpoint(tmp_path)]) == run([], resume=False)
