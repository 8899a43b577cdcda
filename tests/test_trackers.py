"""Trackers log the same under `Trainer.fit` as under `Model.fit`, in few calls.

Each with its real package, which the extra `trackers` installs.
"""

import importlib.util
import io
import json
import os
import pathlib
import warnings

import keras
import numpy as np
import pytest

from keras_ext import Trainer
from tests.markers import needs_tensorflow

pytestmark = [needs_tensorflow, pytest.mark.once]

X = np.random.default_rng(0).normal(size=(960, 8)).astype("float32")
Y = X[:, :1]
STEPS = 2 * 60


def needs(package):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"needs {package}: pip install 'keras_ext[trackers]'",
    )


def fit(model, callbacks, x=X):
    return model.fit(
        x,
        Y,
        batch_size=16,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=(x[:64], Y[:64]),
        callbacks=callbacks,
    )


def network():
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])


@pytest.fixture
def both(monkeypatch):
    """Run something with a stock model and with a Trainer, and return both results."""
    calls = []

    def steps(self, chunk, steps=Trainer.steps):
        calls.append(len(chunk))
        return steps(self, chunk)

    monkeypatch.setattr(Trainer, "steps", steps)

    def run(record, network=network):
        results = []
        for model in (network(), Trainer(network())):
            model.compile("adam", "mse", metrics=["mae"])
            results.append(record(model))
        assert sum(calls) == STEPS
        assert len(calls) < STEPS / 3, "many steps per call"
        return results

    return run


def assert_alike(logged, others):
    """Assert the same series, and the same steps and values in them."""
    assert logged.keys() == others.keys()
    for name, values in logged.items():
        steps, numbers = zip(*values, strict=True)
        other_steps, other_numbers = zip(*others[name], strict=True)
        assert steps == other_steps, name
        np.testing.assert_allclose(other_numbers, numbers, rtol=1e-6, err_msg=name)


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # of MLflow's own dependencies
@pytest.mark.parametrize(
    "options", [{}, {"log_every_epoch": False, "log_every_n_steps": 7}]
)
def test_mlflow(both, options, tmp_path, monkeypatch):
    import mlflow
    from mlflow.keras.callback import MlflowCallback

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)  # where the artifacts go

    def record(model):
        with mlflow.start_run() as run:
            fit(model, [MlflowCallback(**options)])
        mlflow.flush_async_logging()
        client = mlflow.MlflowClient()
        names = client.get_run(run.info.run_id).data.metrics
        return {
            name: [
                (one.step, one.value)
                for one in client.get_metric_history(run.info.run_id, name)
            ]
            for name in names
        }

    stock, ours = both(record)
    assert_alike(stock, ours)
    assert len(ours["loss"]) == (STEPS // 7 if options else 2)


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # of MLflow's own dependencies
def test_autolog_of_mlflow(tmp_path, monkeypatch):
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)  # where the artifacts go
    trainer = Trainer(network())
    trainer.compile("adam", "mse")
    stock = network()
    stock.compile("adam", "mse")
    mlflow.keras.autolog(log_models=False, log_datasets=False)
    try:
        with pytest.warns(UserWarning, match=r"mlflow has replaced `keras\.Model"):
            fit(trainer, [])
        assert mlflow.search_runs(output_format="list") == []

        trainer.model.set_weights(stock.get_weights())
        trainer.compile("adam", "mse")
        fit(stock, [])
        keras.Model.fit(trainer, X, Y, batch_size=16, epochs=2, shuffle=False)
    finally:
        mlflow.keras.autolog(disable=True)
    ours, stocks = mlflow.search_runs(output_format="list")
    assert {"epochs", "batch_size", "optimizer_name"} <= ours.data.params.keys()
    expected = pytest.approx(stocks.data.metrics["loss"], rel=1e-6)
    assert ours.data.metrics["loss"] == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(trainer, [])  # since it is off again


@needs("wandb")
@pytest.mark.filterwarnings("ignore")  # of its own dependencies
@pytest.mark.parametrize("frequency", ["epoch", 5])
def test_wandb(both, frequency, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    import wandb
    from wandb.integration.keras import WandbMetricsLogger

    def record(model):
        rows = {}
        run = wandb.init(project="test", dir=tmp_path)

        def log(values, log=wandb.log):
            for name, value in values.items():
                step = len(rows.setdefault(name, []))
                rows[name].append((step, value))
            log(values)

        with monkeypatch.context() as patch:
            patch.setattr(wandb, "log", log)
            fit(model, [WandbMetricsLogger(log_freq=frequency)])
        run.finish()
        return rows

    stock, ours = both(record)
    assert_alike(stock, ours)
    name = "epoch/loss" if frequency == "epoch" else "batch/loss"
    assert len(ours[name]) == (2 if frequency == "epoch" else STEPS // 5)


@needs("tqdm")
def test_tqdm(both):
    from tqdm.keras import TqdmCallback

    def record(model):
        bar = TqdmCallback(verbose=1, file=io.StringIO())
        updates = []
        bar.batch_bar.set_postfix = lambda logs, refresh: updates.append(logs)
        fit(model, [bar])
        assert bar.epoch_bar.n == 2
        return {
            name: [(step, logs[name]) for step, logs in enumerate(updates)]
            for name in updates[0]
        }

    stock, ours = both(record)
    assert_alike(stock, ours)
    assert len(ours["loss"]) == STEPS


@needs("keras_tuner")
@pytest.mark.filterwarnings("ignore")  # of its own dependencies
def test_keras_tuner(both, tmp_path):
    import keras_tuner

    def record(model):
        seen = []

        class Search(keras_tuner.RandomSearch):
            def on_batch_end(self, trial, model, batch, logs):
                seen.append((batch, logs["loss"]))

        search = Search(
            lambda hp: model,
            objective="val_loss",
            max_trials=1,
            directory=tmp_path / type(model).__name__,
        )
        search.search(
            X,
            Y,
            batch_size=16,
            epochs=2,
            shuffle=False,
            verbose=0,
            validation_data=(X[:64], Y[:64]),
        )
        return {"loss": seen}

    stock, ours = both(record)
    assert_alike(stock, ours)
    assert len(ours["loss"]) == STEPS


@needs("optuna_integration")
@pytest.mark.filterwarnings("ignore")  # of its own dependencies
def test_optuna(both):
    import optuna
    from optuna_integration import KerasPruningCallback

    class AfterTwoEpochs(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.last_step == 1

    def record(model):
        ended = []
        end = keras.callbacks.LambdaCallback(on_train_end=ended.append)

        def objective(trial):
            fit(model, [KerasPruningCallback(trial, "val_loss"), end])

        study = optuna.create_study(pruner=AfterTwoEpochs())
        study.optimize(objective, n_trials=1)
        (trial,) = study.trials
        assert trial.state == optuna.trial.TrialState.PRUNED
        # Only a Trainer's callbacks are notified of the end.
        assert len(ended) == isinstance(model, Trainer)
        return {"val_loss": list(trial.intermediate_values.items())}

    stock, ours = both(record)
    assert_alike(stock, ours)
    assert len(ours["val_loss"]) == 2


def words():
    keras.utils.set_random_seed(2)
    layers = [
        keras.layers.Embedding(4, 2, name="words"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(1, name="last"),
    ]
    inputs = keras.Input((8,), name="input")
    return keras.Sequential([inputs, *layers], name="network")


def events_of(folder):
    """Return what TensorBoard reads: steps and values by folder and name."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged = {}
    for part in sorted(one for one in os.listdir(folder) if "." not in one):
        events = EventAccumulator(str(folder / part), size_guidance={"tensors": 0})
        events.Reload()
        for name in events.Tags()["tensors"]:
            logged[part, name] = [
                (one.step, tf.make_ndarray(one.tensor_proto))
                for one in events.Tensors(name)
            ]
    return logged


@needs("tensorboard")
@pytest.mark.parametrize("frequency", ["epoch", 3, "batch"])
def test_tensorboard(both, frequency, tmp_path):
    def record(model):
        folder = pathlib.Path(tmp_path, type(model).__name__)
        board = keras.callbacks.TensorBoard(
            folder, update_freq=frequency, write_graph=False
        )
        fit(model, [board])
        return events_of(folder)

    stock, ours = both(record)
    assert_alike(stock, ours)
    if frequency == "epoch":
        assert ("validation", "evaluation_loss_vs_iterations") in ours
    else:
        every = 1 if frequency == "batch" else frequency
        assert len(ours["train", "batch_loss"]) == STEPS // every


@needs("tensorboard")
def test_tensorboard_shows_the_wrapped_models_layers(both, tmp_path):
    def record(model):
        folder = pathlib.Path(tmp_path, type(model).__name__)
        board = keras.callbacks.TensorBoard(
            folder,
            histogram_freq=1,
            write_graph=True,
            embeddings_freq=1,
            embeddings_metadata={"words": "words.tsv"},
        )
        fit(model, [board], np.abs(X).astype(int) % 4)
        logged = events_of(folder)
        graphs = [
            (step, json.loads(value.item())["config"])
            for step, value in logged.pop(("train", "keras"))
        ]
        return logged, graphs, (folder / "projector_config.pbtxt").read_text()

    stock, ours = both(record, words)
    assert_alike(stock[0], ours[0])
    histograms = [name for _, name in ours[0] if name.endswith("/histogram")]
    assert len(histograms) == 3  # embeddings, kernel and bias
    assert ours[1:] == stock[1:]
    (step, config), *more = ours[1]
    assert (step, more) == (0, [])
    names = [layer["config"]["name"] for layer in config["layers"]]
    assert names[1:] == ["words", "flat", "last"]
    assert "words.tsv" in ours[2]


@needs("tensorboard")
def test_a_profile_of_batches(tmp_path):
    trainer = Trainer(network())
    trainer.compile("adam", "mse")
    board = keras.callbacks.TensorBoard(tmp_path, profile_batch=(10, 20))
    board.batch_hook_freq = 1
    fit(trainer, [board])
    assert ("train", "batch_20") in events_of(tmp_path)
    (profile,) = tmp_path.glob("train/plugins/profile/*/*.xplane.pb")
    assert b"MatMul" in profile.read_bytes()  # the step itself
