"""Signals are watched in the process that trains, and nowhere else."""

import multiprocessing
import os
import signal
import textwrap
import threading
import time
import warnings

import keras
import numpy as np
import pytest

import keras_ext
from keras_ext.callbacks import Checkpoint
from keras_ext.training.resume.signals import SignalListener
from tests.programs import printed

NUMBER = signal.SIGUSR1


@pytest.fixture
def came():
    """What came of the signal before a watch was started."""
    found = []
    before = signal.signal(NUMBER, lambda number, frame: found.append(number))
    yield found
    signal.signal(NUMBER, before)


def in_a_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def exit_code(child, seconds=20):
    """Return how a process has ended, `None` if it would not; it is killed then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def forked(function):
    """Call a function in a forked process that then waits, and return its number."""
    ready, is_ready = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn of forking beside threads; that is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            function()
            os.write(is_ready, b".")
            time.sleep(60)
        finally:
            os._exit(99)
    os.close(is_ready)
    os.read(ready, 1)
    os.close(ready)
    return child


def model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


class TestFork:
    def test_a_signal_ends_the_child(self):
        watch = SignalListener([signal.SIGTERM])
        watch.start()
        try:
            child = forked(lambda: None)
            os.kill(child, signal.SIGTERM)
            assert exit_code(child) == -signal.SIGTERM
            assert watch.received is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert watch.received == signal.SIGTERM
        finally:
            watch.stop()

    def test_a_child_of_another_thread(self):
        watch, codes = SignalListener([signal.SIGTERM]), []
        watch.start()

        def fork_and_end():
            child = forked(lambda: None)
            os.kill(child, signal.SIGTERM)
            codes.append(exit_code(child))

        try:
            in_a_thread(fork_and_end)
        finally:
            watch.stop()
        assert codes == [-signal.SIGTERM]

    def test_the_child_has_the_handlers_of_before(self, came):
        watch = SignalListener([NUMBER])
        before = signal.getsignal(NUMBER)
        watch.start()

        def check():
            if signal.getsignal(NUMBER) is not before:
                os._exit(1)
            os.kill(os.getpid(), NUMBER)
            os._exit(len(came))

        try:
            assert exit_code(forked(check)) == 1
        finally:
            watch.stop()
        assert came == []

    def test_the_child_can_watch_by_itself(self):
        watch = SignalListener([NUMBER])
        watch.start()

        def check():
            own = SignalListener([NUMBER])
            own.start()
            os.kill(os.getpid(), NUMBER)
            os._exit(7 if own.received == NUMBER and watch.received is None else 1)

        try:
            assert exit_code(forked(check)) == 7
        finally:
            watch.stop()


DAEMON = """
    import multiprocessing, sys, time, warnings
    import keras, numpy as np
    import keras_ext

    class Worker(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context = multiprocessing.get_context("fork")
                self.one = context.Process(target=time.sleep, args=(600,), daemon=True)
                self.two = context.Process(target=time.sleep, args=(600,), daemon=True)
                self.one.start(), self.two.start()

        def on_epoch_end(self, epoch, logs=None):
            self.one.terminate()
            self.one.join(20)
            print(self.one.exitcode)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    trainer = keras_ext.Trainer(model)
    trainer.compile("sgd", "mse")
    callbacks = [Worker(), keras_ext.callbacks.Checkpoint(sys.argv[1])]
    trainer.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=callbacks)
    print("trained")
    # The second one is terminated when this process ends.
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="nothing can fork"
)
def test_workers_of_a_training_are_terminated(tmp_path):
    program = ["-c", textwrap.dedent(DAEMON), str(tmp_path)]
    assert printed(*program, timeout=120) == f"{-signal.SIGTERM}\ntrained\n"


class TestAnotherThread:
    def test_stopped_there(self, came):
        """Signals have their old effect; the handlers go when that is possible."""
        before = signal.getsignal(NUMBER)
        watch, other = SignalListener([NUMBER]), SignalListener([NUMBER])
        watch.start()
        in_a_thread(watch.stop)
        other.start()
        other.stop()
        assert signal.getsignal(NUMBER) is before
        watch.start()
        in_a_thread(watch.stop)
        os.kill(os.getpid(), NUMBER)
        assert came == [NUMBER]
        assert watch.received is None
        assert signal.getsignal(NUMBER) is before

    def test_a_loop_that_is_dropped_there(self, came, tmp_path):
        before = signal.getsignal(NUMBER)
        checkpoint = Checkpoint(tmp_path, signals=[NUMBER])
        loop = keras_ext.Loop(model(), epochs=2, verbose=0, callbacks=[checkpoint])
        epochs = [iter(loop)]
        next(epochs[0])
        assert signal.getsignal(NUMBER) is not before
        in_a_thread(epochs.clear)
        os.kill(os.getpid(), NUMBER)
        assert came == [NUMBER]
        assert signal.getsignal(NUMBER) is before

    def test_a_loop_that_is_closed_there(self, came, tmp_path):
        before = signal.getsignal(NUMBER)
        trainer = keras_ext.Trainer(model())
        trainer.compile("sgd", "mse")
        with keras_ext.Loop(
            trainer,
            verbose=0,
            callbacks=[Checkpoint(tmp_path / "a", signals=[NUMBER])],
        ) as loop:
            epoch = next(iter(loop))
            in_a_thread(loop.close)
        del epoch
        trainer.fit(
            np.ones((4, 2)),
            np.ones((4, 1)),
            verbose=0,
            callbacks=[Checkpoint(tmp_path / "b", signals=[NUMBER])],
        )
        assert signal.getsignal(NUMBER) is before
        assert came == []


class TestHandlersOfOthers:
    """Installed over those of the watch, while it watches."""

    def test_they_stay(self, came):
        watch = SignalListener([NUMBER])
        watch.start()
        watched, seen = signal.getsignal(NUMBER), []

        def other(number, frame):
            seen.append(number)
            watched(number, frame)

        signal.signal(NUMBER, other)
        os.kill(os.getpid(), NUMBER)
        assert (seen, watch.received, came) == ([NUMBER], NUMBER, [])
        watch.stop()
        assert signal.getsignal(NUMBER) is other
        os.kill(os.getpid(), NUMBER)
        assert (len(seen), came) == (2, [NUMBER])
