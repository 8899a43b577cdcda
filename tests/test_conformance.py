"""What holds for every component, checked for every component in `__all__`."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

import keras_ext
from tests.backends import gradients
from tests.callbacks.rows import CALLBACKS
from tests.layers.rows import LAYERS
from tests.losses.rows import LOSSES
from tests.markers import rows_of
from tests.metrics.modes import JIT, in_steps
from tests.metrics.rows import METRICS
from tests.optimizers.rows import OPTIMIZERS
from tests.pairs import Watched
from tests.schedules.rows import SCHEDULES

BACKEND = keras.backend.backend()


def _public_classes(room):
    named = [getattr(room, name) for name in room.__all__]
    return {thing.__name__ for thing in named if inspect.isclass(thing)}


NAN_AT = 4
"""The sample whose predictions are NaN, or whose weight is not valid."""


def _with_nan(row):
    """Return what `update_state` takes, with a sample whose predictions are NaN."""
    batch = {name: x.astype("float32") for name, x in row.batch().items()}
    batch["values" if row.values_only else "y_pred"][NAN_AT] = np.nan
    return batch


def _all_but_one(row):
    weights = np.ones(len(row.y_pred), "float32")
    weights[NAN_AT] = 0
    return weights


def _without_one(row):
    metric = row.make()
    metric.update_state(*row.fed(np.arange(len(row.y_pred)) != NAN_AT))
    return metric.result()


def _numpy(x):
    return ops.convert_to_numpy(x)


def _same_config(a, b):
    assert type(a) is type(b)
    assert keras.saving.serialize_keras_object(
        a
    ) == keras.saving.serialize_keras_object(b)


@pytest.mark.parametrize(
    ("room", "cases"),
    [
        (keras_ext.layers, LAYERS),
        (keras_ext.losses, LOSSES),
        (keras_ext.metrics, METRICS),
        (keras_ext.optimizers, OPTIMIZERS),
        (keras_ext.schedules, SCHEDULES),
    ],
    ids=["layers", "losses", "metrics", "optimizers", "schedules"],
)
def test_every_component_has_a_row(room, cases):
    assert _public_classes(room) == {type(row.make()).__name__ for row in cases}


def test_every_callback_has_a_row():
    # What callbacks ask for, and one that needs Ray, see tests/test_ray.py.
    names = set(keras_ext.callbacks.__all__) - {"RunRequest", "RayReport"}
    if BACKEND != "tensorflow":
        names.remove("Checkpoint")  # needs it, and says so
        with pytest.raises(ImportError, match="TensorFlow backend"):
            keras_ext.callbacks.Checkpoint  # noqa: B018 - loading it raises
    assert names == set(CALLBACKS)


@pytest.mark.parametrize("row", rows_of(LOSSES))
class TestLoss:
    def test_config_round_trip(self, row):
        loss = row.make()
        _same_config(type(loss).from_config(loss.get_config()), loss)

    def test_is_found_by_its_registered_name(self, row):
        loss = row.make()
        name = keras.saving.get_registered_name(type(loss))
        assert name == f"keras_ext>{row.registered or type(loss).__name__}"
        identifier = {"class_name": name, "config": loss.get_config()}
        _same_config(keras.losses.get(identifier), loss)

    def test_default_reduction_is_the_mean_of_the_samples(self, row):
        loss = row.make()
        each = type(loss).from_config({**loss.get_config(), "reduction": "none"})
        np.testing.assert_allclose(
            loss(row.y_true, row.y_pred),
            np.mean(each(row.y_true, row.y_pred)),
            rtol=1e-5,
        )

    def test_zero_weight_is_an_absent_sample(self, row):
        loss = row.make()
        total = type(loss).from_config({**loss.get_config(), "reduction": "sum"})
        weights = np.ones(len(row.y_true), "float32")
        weights[0] = 0
        np.testing.assert_allclose(
            total(row.y_true, row.y_pred, sample_weight=weights),
            total(row.y_true[1:], row.y_pred[1:]),
            rtol=1e-5,
        )

    @pytest.mark.parametrize("anything", [np.nan, np.inf])
    def test_absent_samples_may_hold_anything(self, row, anything):
        loss = row.make()
        total = type(loss).from_config({**loss.get_config(), "reduction": "sum"})
        kept = np.arange(len(row.y_true)) != NAN_AT
        weights = kept.astype("float32")
        y_true, y_pred = row.y_true.astype("float32"), row.y_pred.copy()
        y_true[~kept], y_pred[~kept] = np.nan, anything
        np.testing.assert_allclose(
            total(y_true, y_pred, sample_weight=weights),
            total(row.y_true[kept], row.y_pred[kept]),
            rtol=1e-5,
        )
        (slope,) = gradients(lambda x: total(y_true, x, sample_weight=weights), y_pred)
        np.testing.assert_array_equal(slope[~kept], 0)
        (expected,) = gradients(lambda x: total(row.y_true[kept], x), row.y_pred[kept])
        np.testing.assert_allclose(slope[kept], expected, rtol=1e-4, atol=1e-6)
        if np.isnan(anything):  # and no other sample may
            assert np.isnan(total(row.y_true, y_pred))

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_half_precision_predictions(self, row, dtype):
        loss = row.make()
        value = loss(row.y_true, ops.cast(row.y_pred, dtype))
        np.testing.assert_allclose(
            value, loss(row.y_true, row.y_pred), rtol=0.05, atol=0.01
        )

    def test_is_symbolic_in_functional_models(self, row):
        loss = row.make()
        if isinstance(loss, keras_ext.losses.CRFNegativeLogLikelihood):
            pytest.skip("custom gradients of Keras take no symbolic tensors")
        symbols = [
            keras.KerasTensor(x.shape, str(x.dtype)) for x in (row.y_true, row.y_pred)
        ]
        symbol = loss.call(*symbols)
        values = loss.call(*map(ops.convert_to_tensor, (row.y_true, row.y_pred)))
        assert tuple(symbol.shape) == tuple(values.shape)
        assert symbol.dtype == keras.backend.standardize_dtype(values.dtype)

    def test_compiles_trains_and_reloads(self, row, tmp_path):
        model = keras.Sequential(
            [
                keras.Input(row.y_pred.shape[1:]),
                keras.layers.Dense(row.y_pred.shape[-1], kernel_initializer="identity"),
            ]
        )
        model.compile("sgd", loss=row.make())
        history = model.fit(row.y_pred, row.y_true, epochs=2, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(
            loaded.evaluate(row.y_pred, row.y_true, verbose=0),
            model.evaluate(row.y_pred, row.y_true, verbose=0),
            rtol=1e-6,
        )


@pytest.mark.parametrize("row", rows_of(METRICS))
class TestMetric:
    def test_config_round_trip(self, row):
        metric = row.make()
        _same_config(type(metric).from_config(metric.get_config()), metric)

    def test_is_found_by_its_registered_name(self, row):
        metric = row.make()
        name = keras.saving.get_registered_name(type(metric))
        assert name == f"keras_ext>{type(metric).__name__}"
        identifier = {"class_name": name, "config": metric.get_config()}
        _same_config(keras.metrics.get(identifier), metric)

    def test_any_split_into_batches_gives_the_same_result(self, row):
        whole, parts = row.make(), row.make()
        whole.update_state(*row.fed())
        for part in np.array_split(np.arange(len(row.y_true)), 3):
            parts.update_state(*row.fed(part))
        np.testing.assert_allclose(parts.result(), whole.result(), rtol=1e-5)

    def test_zero_weight_is_an_absent_sample(self, row):
        weighted, absent = row.make(), row.make()
        weights = np.arange(len(row.y_true), dtype="float32") % 3
        kept = weights > 0
        weighted.update_state(*row.fed(), sample_weight=weights)
        absent.update_state(*row.fed(kept), sample_weight=weights[kept])
        np.testing.assert_allclose(weighted.result(), absent.result(), rtol=1e-5)

    def test_nan_predictions_make_the_result_nan(self, row):
        metric, spoiled = row.make(), _with_nan(row)
        for part in (slice(6), slice(6, None)):  # a NaN is not forgotten
            metric.update_state(**{name: x[part] for name, x in spoiled.items()})
            assert np.isnan(metric.result()).all()
        metric.reset_state()
        metric.update_state(**spoiled, sample_weight=_all_but_one(row))
        np.testing.assert_allclose(metric.result(), _without_one(row), rtol=1e-5)

    @pytest.mark.parametrize("weight", [-1, np.inf, np.nan])
    def test_a_weight_that_is_not_valid_raises(self, row, weight):
        weights = np.ones(len(row.y_pred), "float32")
        weights[NAN_AT] = weight
        metric = row.make()
        name = type(metric).__name__
        match = rf"{name} expects `sample_weight` to hold .* of at least 0. .* {weight}"
        with pytest.raises(ValueError, match=match):
            metric.update_state(**row.batch(), sample_weight=weights)
        np.testing.assert_array_equal(metric.result(), row.make().result())

    def test_reset_state_forgets_everything(self, row):
        used, new = row.make(), row.make()
        used.update_state(*row.fed())
        used.reset_state()
        np.testing.assert_array_equal(used.result(), new.result())

    def test_compiles_and_agrees_with_update_state(self, row):
        if row.values_only and BACKEND == "jax":
            pytest.skip("Keras has no metrics inside layers on JAX")
        metric = row.make()
        metric.update_state(*row.fed())
        compiled = row.make()
        layer = Watched(compiled) if row.values_only else keras.layers.Identity()
        model = keras.Sequential([keras.Input(row.y_pred.shape[1:]), layer])
        model.compile(
            loss=lambda y, p: ops.mean(p, axis=-1),
            metrics=[] if row.values_only else [compiled],
        )
        logs = model.evaluate(
            row.y_pred, row.y_true, batch_size=3, verbose=0, return_dict=True
        )
        np.testing.assert_allclose(logs[metric.name], metric.result(), rtol=1e-5)


@pytest.mark.parametrize(
    ("row", "jit_compile"),
    [
        pytest.param(
            *case.values,
            jit,
            id=f"{case.id}-{'xla' if jit else 'graph'}",
            marks=case.marks,
        )
        for case in rows_of(METRICS)
        for jit in JIT
        # XLA takes its time: one row of each metric, and its own tests for the longest.
        if not jit or not (case.marks or case.id == "MeanAveragePrecision")
    ],
)
def test_metric_compiled_is_nan_of_what_is_not_valid(row, jit_compile):
    metric = row.make()
    run = in_steps(metric, jit_compile)

    def result(batch, weights):
        metric.reset_state()
        return run([{**batch, "sample_weight": weights}])

    weights = np.ones(len(row.y_pred), "float32")
    plain, spoiled = row.batch(), _with_nan(row)
    assert not np.isnan(result(plain, weights)).any()
    assert np.isnan(result(spoiled, weights)).all()
    absent = result(spoiled, _all_but_one(row))
    np.testing.assert_allclose(absent, _without_one(row), rtol=1e-5)
    for weight in (-1.0, np.inf, np.nan):
        weights[NAN_AT] = weight
        assert np.isnan(result(plain, weights)).all()


@pytest.mark.parametrize("row", rows_of(OPTIMIZERS))
class TestOptimizer:
    def _trained(self, optimizer, *, epochs=3, **options):
        """Return a model trained for some epochs of 5 steps, and its last loss."""
        keras.utils.set_random_seed(5)
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
        )
        model.compile(optimizer, loss="mse", **options)
        return model, self._train(model, epochs)

    def _train(self, model, epochs):
        rng = np.random.default_rng(3)
        x = rng.normal(size=(20, 3)).astype("float32")
        y = x @ np.array([[1.0], [-2.0], [0.5]], "float32")
        return model.fit(x, y, 4, epochs, shuffle=False, verbose=0).history["loss"]

    def test_config_round_trip(self, row):
        optimizer = row.make()
        _same_config(type(optimizer).from_config(optimizer.get_config()), optimizer)

    def test_is_registered_under_keras_ext(self, row):
        name = keras.saving.get_registered_name(type(row.make()))
        assert name == f"keras_ext>{type(row.make()).__name__}"

    def test_graph_and_xla_make_the_steps_of_eager_execution(self, row):
        kinds = [{"run_eagerly": True}, {"jit_compile": True}, {"jit_compile": False}]
        if BACKEND == "jax":
            kinds.pop()  # is slow there, and the same as eager
        eager, *others = [
            self._trained(row.make(), epochs=2, **kind)[0] for kind in kinds
        ]
        for other in others:
            for got, expected in zip(
                other.get_weights(), eager.get_weights(), strict=True
            ):
                np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)

    def test_a_keras_file_continues_the_training(self, row, tmp_path):
        whole, losses = self._trained(row.make(), epochs=4)
        model, _ = self._trained(row.make(), epochs=2)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        _same_config(loaded.optimizer, model.optimizer)
        assert self._train(loaded, 2) == pytest.approx(losses[2:], rel=1e-5)
        for got, expected in zip(
            loaded.get_weights(), whole.get_weights(), strict=True
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)

    def test_the_rate_can_be_set(self, row):
        optimizer = row.make()
        optimizer.learning_rate = 0.0
        variable = keras.Variable(np.ones(2, "float32"))
        for _ in range(4):
            optimizer.apply([ops.ones(2)], [variable])
        np.testing.assert_array_equal(variable, [1, 1])
        optimizer.learning_rate = 0.25
        assert float(_numpy(ops.convert_to_tensor(optimizer.learning_rate))) == 0.25

    def test_trains_under_a_loss_scale(self, row):
        keras.utils.set_random_seed(5)
        plain, _ = self._trained(row.make())
        scaled = keras.optimizers.LossScaleOptimizer(row.make(), initial_scale=4.0)
        for got, expected in zip(
            self._trained(scaled)[0].get_weights(), plain.get_weights(), strict=True
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)

    def test_lowers_the_loss_in_mixed_precision(self, row):
        before = keras.config.dtype_policy()
        try:
            keras.config.set_dtype_policy("mixed_float16")
            _, losses = self._trained(row.make(), epochs=20)
        finally:
            keras.config.set_dtype_policy(before)
        assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("row", rows_of(SCHEDULES))
class TestSchedule:
    def test_config_round_trip(self, row):
        schedule = row.make()
        _same_config(type(schedule).from_config(schedule.get_config()), schedule)

    def test_is_registered_under_keras_ext(self, row):
        name = keras.saving.get_registered_name(type(row.make()))
        assert name == f"keras_ext>{type(row.make()).__name__}"

    def test_is_finite_and_not_negative(self, row):
        schedule = row.make()
        values = np.array([float(_numpy(schedule(step))) for step in row.steps])
        assert np.isfinite(values).all()
        assert (values >= 0).all()

    def test_python_numpy_and_tensor_steps_agree(self, row):
        schedule = row.make()
        for step in row.steps:
            expected = float(_numpy(schedule(step)))
            for same in (np.int64(step), ops.convert_to_tensor(step, "int32")):
                assert float(_numpy(schedule(same))) == pytest.approx(expected)

    def test_drives_an_optimizer(self, row):
        schedule = row.make()
        optimizer = keras.optimizers.SGD(schedule)
        variable = keras.Variable(np.zeros(1, "float32"))
        for step in range(3):
            before = float(_numpy(variable.value)[0])
            optimizer.apply([ops.ones(1)], [variable])
            moved = before - float(_numpy(variable.value)[0])
            assert moved == pytest.approx(float(_numpy(schedule(step))), abs=1e-6)

    def test_survives_a_keras_file(self, row, tmp_path):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(row.make()), loss="mse")
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        config = loaded.optimizer.get_config()["learning_rate"]
        assert config == keras.saving.serialize_keras_object(row.make())


@pytest.mark.parametrize("name", sorted(CALLBACKS))
def test_callback_in_stock_fit(name, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    callback = CALLBACKS[name](tmp_path)
    assert isinstance(callback, keras.callbacks.Callback)
    history = model.fit(
        np.zeros((8, 2)), np.zeros((8, 1)), epochs=2, callbacks=[callback], verbose=0
    )
    assert history.epoch == [0, 1]
