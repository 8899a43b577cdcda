"""What `docs/reference/where_did_it_go.md` says to write, under the names of Addons.

For `addons_oracle.py --natives`, which runs TensorFlow Addons's own tests against it:
each class takes the arguments that it took there, and makes of them what the page says.
A name without a successor skips the test that calls it.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import keras
import pytest
import tensorflow as tf
from addons import over_pairs, warmed_up
from keras import ops

from keras_ext import layers, losses, metrics, optimizers, schedules


class Nowhere:
    """A name without a successor: what calls it, or asks it for more, is skipped."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        pytest.skip(f"{self.name} has no successor")

    def __getattr__(self, name: str) -> Any:
        # Imports, and pytest's own questions, have names such as `__path__`.
        if name.startswith("__"):
            raise AttributeError(name)
        return self()


def without(options: dict[str, Any], *names: str) -> None:
    """Skip a test that gives what has no successor."""
    for name in names:
        if options.pop(name, None):
            pytest.skip(f"{name} has no successor")


# Activations


def gelu(x: Any, approximate: bool = True) -> Any:
    """Addons approximated by default."""
    return keras.activations.gelu(x, approximate=approximate)


def hardshrink(x: Any, lower: float = -0.5, upper: float = 0.5) -> Any:
    """One threshold for both sides."""
    assert lower == -upper
    return keras.activations.hard_shrink(x, threshold=upper)


def softshrink(x: Any, lower: float = -0.5, upper: float = 0.5) -> Any:
    """One threshold for both sides."""
    assert lower == -upper
    return keras.activations.soft_shrink(x, threshold=upper)


def lisht(x: Any) -> Any:
    """A formula of the page."""
    return x * ops.tanh(x)


def rrelu(
    x: Any,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool | None = None,
    seed: Any = None,
    rng: Any = None,
) -> Any:
    """A formula of the page."""
    if training:
        dtype = keras.backend.standardize_dtype(x.dtype)
        a = keras.random.uniform(ops.shape(x), lower, upper, dtype=dtype)
        return ops.where(x > 0, x, a * x)
    return ops.leaky_relu(x, (lower + upper) / 2)


# Losses

DISTANCES = {
    "L2": "euclidean",
    "squared-L2": "squared_euclidean",
    "angular": "cosine",
}


def reduced(reduction: Any) -> Any:
    """Return a reduction under the name that Keras 3 has for it."""
    return {"auto": "sum_over_batch_size", "none": None}.get(reduction, reduction)


class InItsDtype:
    """A loss that returns the dtype of the predictions, which is now its own."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        loss = super().__call__(y_true, y_pred, sample_weight)
        return ops.cast(loss, y_pred.dtype)


class ContrastiveLoss(losses.Contrastive):
    def __init__(
        self,
        margin: float = 1.0,
        reduction: Any = "sum_over_batch_size",
        name: str = "contrastive_loss",
    ) -> None:
        super().__init__(margin, reduction=reduced(reduction), name=name)


class SigmoidFocalCrossEntropy(keras.losses.BinaryFocalCrossentropy):
    def __init__(
        self,
        from_logits: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        reduction: Any = "none",
        name: str = "sigmoid_focal_crossentropy",
    ) -> None:
        super().__init__(
            apply_class_balancing=True,
            from_logits=from_logits,
            alpha=alpha,
            gamma=gamma,
            reduction=reduced(reduction),
            name=name,
        )


def sigmoid_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float | None = 0.25,
    gamma: float | None = 2.0,
    from_logits: bool = False,
) -> Any:
    """The sum over the last axis, which is the mean now."""
    mean = keras.losses.binary_focal_crossentropy(
        y_true,
        y_pred,
        apply_class_balancing=alpha is not None,
        alpha=0.25 if alpha is None else alpha,
        gamma=0.0 if gamma is None else gamma,
        from_logits=from_logits,
    )
    return mean * y_pred.shape[-1]


class GIoULoss(losses.IoU):
    def __init__(
        self, mode: str = "giou", reduction: Any = "auto", name: str = "giou_loss"
    ) -> None:
        super().__init__(mode, "yxyx", reduction=reduced(reduction), name=name)


def giou_loss(y_true: Any, y_pred: Any, mode: str = "giou") -> Any:
    """Boxes of one shape, with two axes at least."""
    shape = ops.shape(y_true + y_pred)
    full = shape if len(shape) > 1 else (1, *shape)
    boxes = [ops.broadcast_to(each, full) for each in (y_true, y_pred)]
    values = losses.iou(*boxes, form=mode, bounding_box_format="yxyx")
    # As there: axes of length 1 are dropped.
    return ops.squeeze(ops.reshape(values, shape[:-1]))


class OverPairs(InItsDtype, keras.losses.Loss):
    """A loss of one value per sample, of which pairs have the mean."""

    def __init__(self, values: Any, name: str | None) -> None:
        super().__init__(reduction=None, name=name)
        self.values = values

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return over_pairs(y_true, self.values(y_true, y_pred))


class LiftedStructLoss(OverPairs):
    def __init__(self, margin: float = 1.0, name: str | None = None) -> None:
        super().__init__(losses.LiftedStruct(margin, reduction=None), name)


class TripletSemiHardLoss(OverPairs):
    def __init__(
        self,
        margin: float = 1.0,
        distance_metric: str = "L2",
        name: str | None = None,
    ) -> None:
        distance = DISTANCES[distance_metric]
        super().__init__(losses.TripletSemiHard(margin, distance, reduction=None), name)


class TripletHardLoss(InItsDtype, losses.TripletHard):
    def __init__(
        self,
        margin: float = 1.0,
        soft: bool = False,
        distance_metric: str = "L2",
        name: str = "triplet_hard_loss",
    ) -> None:
        super().__init__(margin, DISTANCES[distance_metric], soft, name=name)


class OfSimilarities(keras.losses.Loss):
    """A loss of pairs of embeddings whose products are the similarities."""

    def __init__(self, of_pairs: Any, name: str) -> None:
        super().__init__(reduction=None, name=name)
        self.of_pairs = of_pairs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        positives = ops.eye(y_pred.shape[0], dtype=y_pred.dtype)
        return self.of_pairs(y_true, ops.stack([y_pred, positives], axis=1))


class NpairsLoss(OfSimilarities):
    def __init__(self, name: str = "npairs_loss") -> None:
        super().__init__(losses.NPairs(), name)


class NpairsMultilabelLoss(OfSimilarities):
    def __init__(self, name: str = "npairs_multilabel_loss") -> None:
        super().__init__(losses.NPairsMultilabel(), name)


class PinballLoss(losses.Pinball):
    def __init__(
        self, tau: float = 0.5, reduction: Any = "auto", name: str = "pinball_loss"
    ) -> None:
        super().__init__(tau, reduction=reduced(reduction), name=name)


class SparsemaxLoss(losses.Sparsemax):
    def __init__(
        self,
        from_logits: bool = True,
        reduction: Any = "sum_over_batch_size",
        name: str = "sparsemax_loss",
    ) -> None:
        if not from_logits:
            raise ValueError("There are only logits.")
        super().__init__(
            sparse_y_true=False,
            reduction=reduced(reduction),
            name=name,
        )


def sparsemax_loss(logits: Any, sparsemax: Any, labels: Any) -> Any:
    """The function takes targets and logits."""
    return losses.sparsemax(labels, logits, sparse_y_true=False)


class WeightedKappaLoss(losses.WeightedKappa):
    def __init__(
        self,
        num_classes: int,
        weightage: str = "quadratic",
        name: str = "cohen_kappa_loss",
        epsilon: float = 1e-6,
        reduction: Any = "none",
    ) -> None:
        super().__init__(num_classes, weightage, name=name)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        labels = ops.argmax(y_true, axis=-1)
        return ops.log(super().__call__(labels, y_pred, sample_weight))


# Metrics


def is_integer(x: Any) -> bool:
    """Whether predictions are labels."""
    return "int" in keras.backend.standardize_dtype(x.dtype)


class CohenKappa(metrics.CohenKappa):
    def __init__(
        self,
        num_classes: int,
        name: str = "cohen_kappa",
        weightage: str | None = None,
        sparse_labels: bool = False,
        regression: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_classes,
            weights=weightage,
            sparse_y_true=sparse_labels or num_classes == 2,
            regression=regression,
            name=name,
            dtype=dtype,
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.sparse_y_pred = is_integer(y_pred)
        super().update_state(y_true, y_pred, sample_weight)


class Counting:
    """A metric that counts its values, or their weights, as the tests expect."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Count, and take the values."""
        super().update_state(values, sample_weight)
        weights = ops.ones_like(values) if sample_weight is None else sample_weight
        self.count.assign(self.count + ops.sum(ops.cast(weights, "float32")))


class GeometricMean(Counting, metrics.GeometricMean):
    pass


class HarmonicMean(Counting, metrics.HarmonicMean):
    pass


class FBetaScore(keras.metrics.FBetaScore):
    def __init__(
        self,
        num_classes: int,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, beta, threshold, name=name, dtype=dtype)


class F1Score(keras.metrics.F1Score):
    def __init__(
        self,
        num_classes: int,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, threshold, name=name, dtype=dtype)


class OneMinus:
    """1 minus the result of a metric."""

    def result(self) -> Any:
        return 1 - super().result()


class OneMinusRecall(OneMinus, keras.metrics.Recall):
    pass


class OneMinusAccuracy(OneMinus, keras.metrics.CategoricalAccuracy):
    pass


def hamming_loss(
    mode: str,
    name: str = "hamming_loss",
    threshold: float | None = None,
    dtype: Any = None,
) -> Any:
    """The metric depends on the mode."""
    if mode == "multilabel":
        return metrics.HammingLoss(threshold=threshold, name=name, dtype=dtype)
    if threshold is not None:
        return OneMinusRecall(thresholds=threshold, name=name, dtype=dtype)
    return OneMinusAccuracy(name=name, dtype=dtype)


def hamming_distance(actuals: Any, predictions: Any) -> Any:
    """A formula of the page."""
    return ops.mean(ops.not_equal(actuals, predictions))


class MatthewsCorrelationCoefficient(metrics.MatthewsCorrelationCoefficient):
    def __init__(
        self,
        num_classes: int,
        name: str = "MatthewsCorrelationCoefficient",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            max(num_classes, 2), sparse_y_true=num_classes == 1, name=name, dtype=dtype
        )


class MultiLabelConfusionMatrix(metrics.MultiLabelConfusionMatrix):
    def __init__(
        self,
        num_classes: int,
        name: str = "Multilabel_confusion_matrix",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, name=name, dtype=getattr(dtype, "name", dtype))


class RSquare(keras.metrics.R2Score):
    def __init__(
        self,
        name: str = "r_square",
        dtype: Any = None,
        multioutput: str = "uniform_average",
        num_regressors: int = 0,
    ) -> None:
        names = {
            "raw_values": None,
            "variance_weighted": "variance_weighted_average",
        }
        super().__init__(
            names.get(multioutput, multioutput), num_regressors, name=name, dtype=dtype
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if len(y_true.shape) == 1:
            y_true, y_pred = y_true[:, None], y_pred[:, None]
        super().update_state(y_true, y_pred, sample_weight)


class WithoutCutpoints:
    """A metric of all samples, which needs no ranges of values."""

    def __init__(
        self,
        actual_min: float = 0.0,
        actual_max: float = 1.0,
        preds_min: float = 0.0,
        preds_max: float = 1.0,
        actual_cutpoints: int = 100,
        preds_cutpoints: int = 100,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)


class KendallsTauB(WithoutCutpoints, metrics.KendallTau):
    pass


class KendallsTauC(WithoutCutpoints, metrics.KendallTau):
    def __init__(self, *ranges: Any, **options: Any) -> None:
        super().__init__(*ranges, variant="c", **options)


class SpearmansRank(WithoutCutpoints, metrics.SpearmanCorrelation):
    pass


class PearsonsCorrelation(WithoutCutpoints, keras.metrics.PearsonCorrelation):
    def __init__(self, *ranges: Any, **options: Any) -> None:
        super().__init__(*ranges, axis=0, **options)


# Optimizers


def constant(value: Any) -> Any:
    """Return what Keras 3 takes for a tensor, or for a function without arguments."""
    if inspect.isfunction(value):
        return value()
    return float(value) if tf.is_tensor(value) else value


class AsBefore:
    """An optimizer with the names of arguments that Keras 2 had."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if "lr" in options:
            options["learning_rate"] = options.pop("lr")
        if decay := options.pop("decay", 0):
            options["learning_rate"] = keras.optimizers.schedules.InverseTimeDecay(
                options["learning_rate"], 1, decay
            )
        options = {name: constant(value) for name, value in options.items()}
        super().__init__(*map(constant, arguments), **options)

    def _get_hyper(self, name: str) -> Any:
        """The tests ask by this name."""
        return getattr(self, name)

    def minimize(self, loss: Any, var_list: Iterable[Any], tape: Any = None) -> None:
        """Keras 3 has no such method; a tape is what its guides use."""
        with tape or tf.GradientTape() as recorded:
            value = loss() if callable(loss) else loss
        gradients = recorded.gradient(value, var_list)
        self.apply_gradients(zip(gradients, var_list, strict=True))


def with_warmup(options: dict[str, Any]) -> dict[str, Any]:
    """Replace `total_steps` by the schedule of the page."""
    names = ("total_steps", "warmup_proportion", "min_lr")
    given = {name: options.pop(name) for name in names if name in options}
    rate = options.pop("lr", None) or options.pop("learning_rate", 0.001)
    options.pop("sma_threshold", None)
    if given.get("total_steps"):
        rate = warmed_up(keras, rate, **given)
    return {**options, "learning_rate": rate}


REGULARIZERS = ("l1_regularization_strength", "l2_regularization_strength")


class AdaBelief(AsBefore, optimizers.AdaBelief):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **with_warmup(options))


class RectifiedAdam(AsBefore, optimizers.RectifiedAdam):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        without(options, "amsgrad")
        super().__init__(*arguments, **with_warmup(options))


class NovoGrad(AsBefore, optimizers.NovoGrad):
    pass


class LazyAdam(AsBefore, optimizers.LazyAdam):
    pass


class LAMB(AsBefore, keras.optimizers.Lamb):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        without(
            options,
            *("weight_decay", "weight_decay_rate", "exclude_from_weight_decay"),
            "exclude_from_layer_adaptation",
        )
        super().__init__(*arguments, **{"epsilon": 1e-6, **options})


class Yogi(AsBefore, optimizers.Yogi):
    def __init__(
        self, *arguments: Any, beta1: float = 0.9, beta2: float = 0.999, **options: Any
    ) -> None:
        without(options, *REGULARIZERS, "activation")
        super().__init__(*arguments, beta_1=beta1, beta_2=beta2, **options)


class ProximalAdagrad(AsBefore, keras.optimizers.Adagrad):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        without(options, *REGULARIZERS)
        super().__init__(*arguments, epsilon=0.0, **options)


class Lookahead(optimizers.Lookahead):
    def __init__(self, optimizer: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(keras.optimizers.get(optimizer), *arguments, **options)


class Decaying(AsBefore):
    """The weight decay of the page, which no schedule of the rate changes."""

    def __init__(self, weight_decay: Any, *arguments: Any, **options: Any) -> None:
        without(options, "exclude_from_weight_decay")
        super().__init__(*arguments, **options)
        self.decay = constant(weight_decay)

    def apply_gradients(self, pairs: Any, decay_var_list: Any = None) -> Any:
        """All variables decay."""
        if decay_var_list:
            pytest.skip("decay_var_list has no successor")
        return super().apply_gradients(pairs)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay, and then move."""
        share = self.decay
        decay = (share(self.iterations) if callable(share) else share) * variable
        if isinstance(gradient, tf.IndexedSlices):
            rows = decay.shape[0]
            counts = tf.math.bincount(gradient.indices, None, rows, rows)
            present = tf.cast(counts > 0, decay.dtype)
            decay *= tf.reshape(present, [rows] + [1] * (len(decay.shape) - 1))
            gradient = tf.convert_to_tensor(gradient)
        self.assign_sub(variable, decay)
        super().update_step(gradient, variable, learning_rate)


class AdamW(Decaying, keras.optimizers.Adam):
    pass


class SGDW(Decaying, keras.optimizers.SGD):
    pass


def cyclical(mode: str) -> Callable[..., Any]:
    """Return what makes a schedule of a mode."""

    def made(
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: int,
        **options: Any,
    ) -> Any:
        return schedules.Cyclical(
            initial_learning_rate,
            maximal_learning_rate,
            step_size,
            mode=mode,
            **options,
        )

    return made


# Cells


class WithInputs:
    """A cell whose first states may be asked for with inputs, as in Keras 2."""

    def get_initial_state(
        self, inputs: Any = None, batch_size: Any = None, dtype: Any = None
    ) -> Any:
        """The dtype is that of the cell."""
        return super().get_initial_state(batch_size)


class LayerNormLSTMCell(WithInputs, layers.LayerNormLSTMCell):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        for name in ("epsilon", "gamma_initializer", "beta_initializer"):
            if f"norm_{name}" in options:
                options[name] = options.pop(f"norm_{name}")
        super().__init__(*arguments, normalize_carry=True, **options)


class NASCell(layers.NASCell):
    """The states of Addons were the cell state and then the output."""

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        output, states = super().call(inputs, states[::-1], training=training)
        return output, states[::-1]


class PeepholeLSTMCell(WithInputs, layers.PeepholeLSTMCell):
    def __init__(self, units: int, **options: Any) -> None:
        options.pop("implementation", None)
        kernel = options.get("kernel_initializer", "glorot_uniform")
        super().__init__(units, peephole_initializer=kernel, **options)


ROOMS: dict[str, dict[str, Any]] = {
    "activations": {
        "gelu": gelu,
        "hardshrink": hardshrink,
        "lisht": lisht,
        "mish": keras.activations.mish,
        "rrelu": rrelu,
        "snake": layers.snake,
        "softshrink": softshrink,
        "sparsemax": layers.sparsemax,
        "tanhshrink": keras.activations.tanh_shrink,
    },
    "losses": {
        "ContrastiveLoss": ContrastiveLoss,
        "GIoULoss": GIoULoss,
        "LiftedStructLoss": LiftedStructLoss,
        "NpairsLoss": NpairsLoss,
        "NpairsMultilabelLoss": NpairsMultilabelLoss,
        "PinballLoss": PinballLoss,
        "SigmoidFocalCrossEntropy": SigmoidFocalCrossEntropy,
        "SparsemaxLoss": SparsemaxLoss,
        "TripletHardLoss": TripletHardLoss,
        "TripletSemiHardLoss": TripletSemiHardLoss,
        "WeightedKappaLoss": WeightedKappaLoss,
        "giou_loss": giou_loss,
        "pairwise_distance": Nowhere("pairwise_distance"),
        "sigmoid_focal_crossentropy": sigmoid_focal_crossentropy,
        "sparsemax_loss": sparsemax_loss,
    },
    "metrics": {
        "CohenKappa": CohenKappa,
        "F1Score": F1Score,
        "FBetaScore": FBetaScore,
        "GeometricMean": GeometricMean,
        "HammingLoss": hamming_loss,
        "HarmonicMean": HarmonicMean,
        "KendallsTauB": KendallsTauB,
        "KendallsTauC": KendallsTauC,
        "MatthewsCorrelationCoefficient": MatthewsCorrelationCoefficient,
        "MultiLabelConfusionMatrix": MultiLabelConfusionMatrix,
        "PearsonsCorrelation": PearsonsCorrelation,
        "RSquare": RSquare,
        "SpearmansRank": SpearmansRank,
        "hamming_distance": hamming_distance,
        "_VALID_MULTIOUTPUT": {"raw_values", "uniform_average", "variance_weighted"},
    },
    "optimizers": {
        **{
            name: Nowhere(name)
            for name in (
                *("AveragedOptimizerWrapper", "COCOB", "ConditionalGradient"),
                *("DecoupledWeightDecayExtension", "MovingAverage", "MultiOptimizer"),
                *("SWA", "fit_bn"),
            )
        },
        "extend_with_decoupled_weight_decay": lambda _: Nowhere("an extended class"),
        "AdaBelief": AdaBelief,
        "AdamW": AdamW,
        "CyclicalLearningRate": cyclical("triangular"),
        "ExponentialCyclicalLearningRate": cyclical("exp_range"),
        "KerasLegacyOptimizer": keras.optimizers.Optimizer,
        "LAMB": LAMB,
        "LazyAdam": LazyAdam,
        "Lookahead": Lookahead,
        "NovoGrad": NovoGrad,
        "ProximalAdagrad": ProximalAdagrad,
        "RectifiedAdam": RectifiedAdam,
        "SGDW": SGDW,
        "Triangular2CyclicalLearningRate": cyclical("triangular2"),
        "TriangularCyclicalLearningRate": cyclical("triangular"),
        "Yogi": Yogi,
    },
    "rnn": {
        "ESNCell": Nowhere("ESNCell"),
        "LayerNormLSTMCell": LayerNormLSTMCell,
        "LayerNormSimpleRNNCell": Nowhere("LayerNormSimpleRNNCell"),
        "NASCell": NASCell,
        "PeepholeLSTMCell": PeepholeLSTMCell,
    },
}
