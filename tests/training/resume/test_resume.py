"""Runs that are ended at some step and continued, in all the forms a run can have."""

import contextlib
import csv

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import keras_ext
from keras_ext.callbacks import Checkpoint, CSVLogger
from keras_ext.training.step import xla_policy as compilation
from tests.forgetful import Forgetful

pytestmark = pytest.mark.long

RNG = np.random.default_rng(3)
X = RNG.normal(size=(100, 4)).astype("float32")
Y = (X.sum(1) > 0).astype("int32")
BATCH = 16
STEPS = 7
EPOCHS = 4


class KilledError(Exception):
    """Stands for the end of the process."""


class Kill(Forgetful):
    """Ends the run after a number of steps, without giving anybody the time to save."""

    def __init__(self, step, every_step=True):
        super().__init__()
        self._step = step
        self._made = 0
        self.batch_hook_freq = 1 if every_step else "epoch"

    def on_train_batch_end(self, batch, logs=None):
        self._made += 1
        if self._made == self._step:
            raise KilledError


class Evaluating(Forgetful):
    """Evaluates before every batch, the first one after a resume included."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.evaluate(X[:20], Y[:20], verbose=0)


def layers():
    return [
        keras.Input((4,)),
        keras.layers.GaussianNoise(0.1),
        keras.layers.Dense(8, "relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(2, "softmax"),
    ]


def make_trainer(kind=keras_ext.Trainer, optimizer=None, **options):
    trainer = kind(keras.Sequential(layers()))
    trainer.compile(
        optimizer or keras.optimizers.Adam(0.01),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **options,
    )
    return trainer


def dataset(shuffle=True):
    tf.random.set_seed(5)
    data = tf.data.Dataset.from_tensor_slices((X, Y))
    return (data.shuffle(100) if shuffle else data).batch(BATCH)


def in_doubles(x, y):
    return tf.cast(x, tf.float64), y


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return X[rows], Y[rows]


def generator():
    while True:
        for first in range(0, 96, BATCH):
            # Random numbers of the process, which belong to the run.
            noise = np.random.normal(size=(BATCH, 4)).astype("float32")
            yield X[first : first + BATCH] + noise, Y[first : first + BATCH]


class TwoOptimizers(keras_ext.Trainer):
    """Has an optimizer and a metric of its own, which `compile` knows nothing of."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.second = keras.optimizers.RMSprop(0.001)
        self.seen = {"gradient": keras.metrics.Mean(name="gradient")}

    def apply_gradients(self, gradients):
        variables = self.trainable_variables
        self.optimizer.apply(gradients[:2], variables[:2])
        self.second.apply(gradients[2:], variables[2:])
        self.seen["gradient"].update_state(tf.reduce_mean(gradients[0]))


class OwnRandom(keras_ext.Trainer):
    """Draws random numbers from Keras's global generator, which no layer owns."""

    def forward(self, x, training):
        return super().forward(x + keras.random.normal(tf.shape(x)), training)


def clipped():
    return keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.5)


def scheduled():
    return keras.optimizers.AdamW(keras_ext.schedules.Cyclical(0.001, 0.1, 5))


PROBLEMS = {
    "arrays": {},
    "validation": {"fit": {"validation_split": 0.2}},
    "dataset": {"data": dataset},
    "dataset repeated": {
        "data": lambda: dataset().repeat(),
        "fit": {"steps_per_epoch": 5},
    },
    "dataset of validation": {"fit": {"validation_data": dataset}},
    "dataset of doubles": {"data": lambda: dataset().map(in_doubles)},
    "PyDataset": {"data": Batches},
    "sparse": {"data": lambda: scipy.sparse.csr_matrix(np.where(X > 0, X, 0))},
    "steps of arrays": {"fit": {"steps_per_epoch": 5}},
    "class weights": {"fit": {"class_weight": {0: 1.0, 1: 3.0}}},
    "class weights of a dataset": {
        "data": dataset,
        "fit": {"class_weight": {0: 1.0, 1: 3.0}},
    },
    "shuffled within batches": {"fit": {"shuffle": "batch"}},
    "not resident": {"fit": {"resident": False}},
    "eager": {"trainer": lambda: make_trainer(run_eagerly=True)},
    "XLA": {"trainer": lambda: make_trainer(jit_compile=True)},
    "moving average": {"trainer": lambda: make_trainer(optimizer=clipped())},
    "schedule": {"trainer": lambda: make_trainer(optimizer=scheduled())},
    "accumulation": {
        "trainer": lambda: make_trainer(
            optimizer=keras.optimizers.Adam(0.01, gradient_accumulation_steps=3)
        )
    },
    "loss scale": {
        "trainer": lambda: make_trainer(
            optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
        )
    },
    "two optimizers": {"trainer": lambda: make_trainer(TwoOptimizers)},
    "no generator of its own": {"trainer": lambda: make_trainer(OwnRandom)},
}
CALLBACKS = {
    "evaluation": Evaluating,
    "EarlyStopping": lambda: keras.callbacks.EarlyStopping(
        "loss", patience=1, min_delta=0.1, restore_best_weights=True
    ),
    "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau(
        "loss", patience=1, min_delta=0.2, factor=0.5
    ),
    "rates by epoch": lambda: keras_ext.callbacks.LearningRateScheduler(
        lambda epoch: 0.1 / (1 + epoch)
    ),
    "rates by step": lambda: keras_ext.callbacks.LearningRateScheduler(
        keras_ext.schedules.OneCycle(0.1, total_steps=28), update_freq="batch"
    ),
    "keras rates": lambda: keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rate * 0.5
    ),
}


def results(trainer, history):
    """Return everything that must be the same."""
    optimizers = [trainer.optimizer, getattr(trainer, "second", trainer.optimizer)]
    variables = [*trainer.variables, *(v for one in optimizers for v in one.variables)]
    return [np.array(variable) for variable in variables], history


def same(first, second):
    """Assert that two runs are the same to the bit."""
    assert first[1] == second[1]
    for one, other in zip(first[0], second[0], strict=True):
        np.testing.assert_array_equal(one, other)


def run_fit(seed, problem, callbacks=(), epochs=EPOCHS, resume=False):
    """Train as one process would, and return what came of it."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    trainer = problem.get("trainer", make_trainer)()
    # Whose seed is the same in every process: the order of a dataset hangs on it.
    data = problem["data"]() if "data" in problem else X
    options = dict(problem.get("fit", {}))
    if callable(options.get("validation_data")):
        options["validation_data"] = options["validation_data"]()
    arrays = hasattr(data, "shape")
    history = trainer.fit(
        data,
        Y if arrays else None,
        batch_size=BATCH if arrays else None,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        resume=resume,
        **options,
    )
    return results(trainer, history.history)


def killed_and_continued(run, folder, kills, make_callbacks=list, **checkpoint):
    """Run, kill after each number of steps in `kills`, and return the last results."""
    for number, step in enumerate([*kills, None]):
        callbacks = [*make_callbacks(), Checkpoint(folder / "run", **checkpoint)]
        callbacks += [Kill(step)] if step is not None else [Kill(-1)]
        with contextlib.suppress(KilledError):
            # Once there is a checkpoint, the seed of a process must not matter.
            seed = 1 + number * 50 if list(folder.glob("run/*.index")) else 1
            return run(seed=seed, callbacks=callbacks, resume=True)
    raise AssertionError("killed before the end")


@pytest.mark.parametrize("name", PROBLEMS)
def test_continued_within_an_epoch(name, tmp_path):
    def run(**options):
        return run_fit(problem=PROBLEMS[name], **options)

    continued = killed_and_continued(run, tmp_path, (4, 9), save_freq=3)
    same(continued, run(seed=1))


@pytest.mark.parametrize("name", ["arrays", "dataset", "dataset of validation"])
def test_continued_between_epochs(name, tmp_path):
    def run(**options):
        return run_fit(problem=PROBLEMS[name], **options)

    continued = killed_and_continued(run, tmp_path, (10, 12))
    same(continued, run(seed=1))


@pytest.mark.parametrize("name", ["arrays", "dataset", "PyDataset"])
@pytest.mark.parametrize("kills", [(6,), (9, 4)], ids=str)
def test_the_odd_batch_is_compiled_as_in_one_run(name, kills, monkeypatch, tmp_path):
    """XLA makes the regular ones: not the last of an epoch, were it the first here."""
    monkeypatch.setattr(compilation, "WORTH_STEPS", 1)

    def run(**options):
        return run_fit(problem=PROBLEMS[name], **options)

    continued = killed_and_continued(run, tmp_path, kills, save_freq=3)
    same(continued, run(seed=1))


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_remember(name, tmp_path):
    def run(**options):
        return run_fit(problem={}, epochs=8, **options)

    continued = killed_and_continued(
        run, tmp_path, (9, 9, 9), lambda: [CALLBACKS[name]()], save_freq=2
    )
    same(continued, run(seed=1, callbacks=[CALLBACKS[name]()]))


@pytest.mark.parametrize("kill", [7, 8, 14, 15, 21])
def test_every_moment_near_the_end_of_an_epoch(kill, tmp_path):
    def run(**options):
        return run_fit(problem={"fit": {"validation_split": 0.1}}, **options)

    continued = killed_and_continued(run, tmp_path, (kill,), save_freq=1)
    same(continued, run(seed=1))


@pytest.mark.parametrize("update_freq", ["epoch", 2])
@pytest.mark.parametrize("append", [False, True])
def test_the_log_has_the_rows_of_the_uninterrupted_run(update_freq, append, tmp_path):
    def log(name):
        if append:
            (tmp_path / name).write_text("epoch,step,seconds,loss\n0,7,1.0,5.0\n")
        return lambda: [
            CSVLogger(tmp_path / name, append=append, update_freq=update_freq)
        ]

    def run(**options):
        return run_fit(problem={"fit": {"validation_split": 0.1}}, **options)

    def rows(name):
        with open(tmp_path / name, newline="", encoding="utf-8") as file:
            return [
                {k: v for k, v in row.items() if k != "seconds"}
                for row in csv.DictReader(file)
            ]

    killed_and_continued(run, tmp_path, (11, 6, 9), log("first.csv"), save_freq=4)
    run(seed=1, callbacks=log("second.csv")())
    assert rows("first.csv") == rows("second.csv")
    assert len(rows("first.csv")) >= EPOCHS


def test_a_generator_is_read_again(tmp_path):
    problem = {"data": generator, "fit": {"steps_per_epoch": 4}}

    def run(**options):
        return run_fit(problem=problem, **options)

    with pytest.warns(UserWarning, match="where the run was, 5 batches"):
        continued = killed_and_continued(run, tmp_path, (6,), save_freq=5)
    same(continued, run(seed=1))


def test_a_dataset_that_cannot_be_saved_is_read_again(tmp_path):
    def data():
        # Python code, whose state TensorFlow cannot know.
        def batches():
            yield from dataset(shuffle=False).as_numpy_iterator()

        signature = dataset().element_spec
        return tf.data.Dataset.from_generator(batches, output_signature=signature)

    def run(**options):
        return run_fit(problem={"data": data}, **options)

    with (
        pytest.warns(UserWarning, match="cannot be saved"),
        pytest.warns(UserWarning, match="batches are read again"),
    ):
        continued = killed_and_continued(run, tmp_path, (12, 9), save_freq=5)
    same(continued, run(seed=1))


def test_random_numbers_of_the_process_are_named(tmp_path):
    class Noisy(keras_ext.Trainer):
        def forward(self, x, training):
            return super().forward(x + tf.random.normal(tf.shape(x)), training)

    trainer = make_trainer(Noisy)
    with pytest.warns(UserWarning, match="RandomStandardNormal"):
        trainer.fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path)])


class TestFinished:
    def test_it_is_recognised(self, tmp_path):
        def run(**options):
            return run_fit(
                problem={"trainer": lambda: make_trainer(optimizer=clipped())},
                **options,
            )

        first = run(seed=1, callbacks=[Checkpoint(tmp_path)])
        before = sorted(tmp_path.iterdir())
        again = run(seed=2, callbacks=[Checkpoint(tmp_path)], resume=True)
        same(first, again)
        assert sorted(tmp_path.iterdir()) == before

    @pytest.mark.parametrize("save_freq", ["epoch", 5, "1h"])
    def test_more_epochs_continue_it(self, save_freq, tmp_path):
        problem = {"trainer": lambda: make_trainer(optimizer=clipped())}

        def checkpoint():
            return [Checkpoint(tmp_path, save_freq=save_freq)]

        run_fit(1, problem, epochs=2, callbacks=checkpoint())
        longer = run_fit(2, problem, epochs=4, callbacks=checkpoint(), resume=True)
        same(longer, run_fit(1, problem, epochs=4))

    def test_one_that_was_stopped_stays_stopped(self, tmp_path):
        def callbacks():
            stop = keras.callbacks.EarlyStopping(
                "loss", patience=1, min_delta=10.0, restore_best_weights=True
            )
            return [stop, Checkpoint(tmp_path)]

        first = run_fit(1, {}, callbacks=callbacks())
        assert len(first[1]["loss"]) == 2
        same(first, run_fit(2, {}, epochs=9, callbacks=callbacks(), resume=True))

    def test_a_model_that_is_not_built_yet(self, tmp_path):
        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(2, "softmax")

            def call(self, x):
                return self.dense(x)

        def trainer():
            made = keras_ext.Trainer(Net())
            made.compile("adam", loss="sparse_categorical_crossentropy")
            return made

        first = run_fit(1, {"trainer": trainer}, callbacks=[Checkpoint(tmp_path)])
        again = run_fit(
            2, {"trainer": trainer}, callbacks=[Checkpoint(tmp_path)], resume=True
        )
        same(first, again)


class TestLoop:
    """Loops written by hand."""

    def run(self, seed, callbacks=(), resume=False, *, passes=1):
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(layers())
        optimizer = keras.optimizers.Adam(0.01)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        loss_of = keras.losses.SparseCategoricalCrossentropy()

        @tf.function
        def step(x, y):
            with tf.GradientTape() as tape:
                y_pred = model(x, training=True)
                loss = loss_of(y, y_pred)
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            accuracy.update_state(y, y_pred)
            return loss

        loop = keras_ext.Loop(
            model,
            optimizer=optimizer,
            epochs=EPOCHS,
            verbose=0,
            callbacks=list(callbacks),
            resume=resume,
            state={"accuracy": accuracy},
        )
        for epoch in loop:
            for _ in range(passes):
                for x, y in epoch.batches((X, Y), BATCH):
                    epoch.log({"loss": step(x, y), "accuracy": accuracy})
            epoch.log_validation({"loss": loss_of(Y, model(X))})
        variables = [*model.variables, *optimizer.variables, *accuracy.variables]
        return [np.array(one) for one in variables], loop.history.history

    @pytest.mark.parametrize("passes", [1, 2])
    @pytest.mark.parametrize(
        ("save_freq", "kills"), [("epoch", (10, 16)), (2, (4, 8, 5)), (7, (7, 8))]
    )
    def test_a_plain_model(self, passes, save_freq, kills, tmp_path):
        def run(**options):
            return self.run(passes=passes, **options)

        continued = killed_and_continued(run, tmp_path, kills, save_freq=save_freq)
        same(continued, run(seed=1))

    def test_chunks_and_passes_of_a_dataset(self, tmp_path):
        def run(seed, callbacks=(), resume=False):
            keras.utils.clear_session()
            keras.utils.set_random_seed(seed)
            trainer = make_trainer()
            data, more = dataset(), dataset(shuffle=False)
            loop = keras_ext.Loop(
                trainer, epochs=3, verbose=0, callbacks=list(callbacks), resume=resume
            )
            for epoch in loop:
                for source in (data, more):
                    for chunk in epoch.chunks(source):
                        epoch.log(trainer.steps(chunk))
                epoch.evaluate((X, Y))
            return results(trainer, loop.history.history)

        continued = killed_and_continued(run, tmp_path, (9, 10, 8), save_freq=4)
        same(continued, run(seed=1))

    def test_objects_with_a_state(self, tmp_path):
        class Counter:
            count = 0

            def get_state(self):
                return self.count

            def set_state(self, state):
                self.count = state

        def run(seed, callbacks=(), resume=False):
            keras.utils.set_random_seed(seed)
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            counter, generator = Counter(), tf.random.Generator.from_seed(seed)
            loop = keras_ext.Loop(
                model,
                epochs=3,
                verbose=0,
                callbacks=list(callbacks),
                resume=resume,
                state={"counter": counter, "noise": generator},
            )
            for epoch in loop:
                for _ in epoch.batches(X, BATCH):
                    counter.count += 1
                    epoch.log({"noise": generator.normal(())})
            return [np.array(counter.count)], loop.history.history

        continued = killed_and_continued(run, tmp_path, (9,), save_freq=4)
        same(continued, run(seed=1))
        assert continued[0] == [21]


def test_the_folder_of_another_run(tmp_path):
    first = run_fit(1, {}, epochs=2, callbacks=[Checkpoint(tmp_path / "a")])
    assert len(first[1]["loss"]) == 2
    callbacks = [Checkpoint(tmp_path / "b")]
    branch = run_fit(2, {}, epochs=4, callbacks=callbacks, resume=tmp_path / "a")
    same(branch, run_fit(1, {}, epochs=4))
    assert len(list((tmp_path / "a").glob("*.index"))) == 2
    assert len(list((tmp_path / "b").glob("*.index"))) == 2
