"""How near components are to those of TensorFlow Addons whose numbers they have.

    python benchmarks/addons.py tests/addons.npz
    python benchmarks/addons.py tests/addons.npz --only optimizers
    python benchmarks/addons.py tests/addons.npz --save

With `--save`, Addons computes and the numbers are saved. That needs Python 3.9 to 3.11
and `pip install "tensorflow==2.15.*" "tensorflow-addons==0.23.0" "numpy<2"`. Otherwise,
what `docs/reference/where_did_it_go.md` says to write instead computes the same, and
the largest differences are printed, as the table of that page. Data and weights are
random, but the same in both.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

Compute = Callable[[Any, Any], Any]
HEADER = "| Name | Largest difference | Largest number |\n|---|---|---|"


@dataclass(frozen=True)
class Row:
    """A name of Addons, what it computes, and what does so now.

    `then` is given TensorFlow and Addons, `now` Keras and keras_ext.
    """

    name: str
    then: Compute
    now: Compute


rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    """Return normal random numbers in float32."""
    return rng.normal(size=shape).astype("float32")


SERIES, IMAGES, VOLUMES = normal(2, 8, 3), normal(2, 6, 8, 4), normal(2, 4, 4, 4, 3)
VECTORS, KERNEL, BIAS, GAIN = normal(8, 5), normal(5, 4), normal(4), normal(4)
GAMMA, BETA = normal(4), normal(4)
PHOTO = rng.uniform(size=(6, 8, 3)).astype("float32")
ANGLES = np.array([0.3, -1.1], "float32")
POINTS = rng.uniform(0.0, 5.0, size=(2, 7, 2)).astype("float32")
FLOW = normal(2, 6, 8, 2)
TRANSFORM = np.array([0.9, 0.1, 1.0, -0.2, 1.1, 0.5, 0.0, 0.0], "float32")

LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3], "int32")
UNBALANCED = np.array([0, 0, 0, 0, 1, 1, 2, 3], "int32")
BITS = rng.integers(0, 2, size=(8, 5)).astype("float32")
SHARES = rng.uniform(size=(8, 5)).astype("float32")
CLASSES = rng.integers(0, 5, size=8).astype("int32")
ONE_HOT = np.eye(5, dtype="float32")[CLASSES]
GRADES = rng.uniform(-0.5, 4.4, size=(8, 1)).astype("float32")
CORNERS = rng.uniform(size=(8, 2, 2)).astype("float32")
BOXES = np.sort(np.concatenate([CORNERS, CORNERS[::-1] + 0.1], axis=1), axis=1)
BOXES = BOXES[:, [0, 2]].reshape(8, 4)  # "yxyx"
MOVED = BOXES + rng.uniform(0, 0.1, size=(8, 4)).astype("float32")

EMISSIONS, TRANSITIONS = normal(3, 6, 4), normal(4, 4)
TAGS = rng.integers(0, 4, size=(3, 6)).astype("int32")
WEIGHTS = rng.uniform(size=(3, 6)).astype("float32")
GRADIENTS, START = normal(10, 5), normal(5)

# A point in each quarter of an image, and where it goes.
CONTROLS = rng.uniform(0.5, 1.5, size=(2, 4, 2)).astype("float32")
CONTROLS += np.array([(0, 0), (0, 4), (3, 0), (3, 4)], "float32")
GOALS = CONTROLS + rng.uniform(-0.7, 0.7, size=(2, 4, 2)).astype("float32")
SPLINES = [(1, 0.0), (2, 0.0), (2, 0.1), (3, 0.0)]  # orders and weights


def with_weights(layer: Any, inputs: Any, weights: list[Any], **options: Any) -> Any:
    """Return the output of a layer with these weights."""
    layer(inputs)
    layer.set_weights(weights)
    return layer(inputs, **options)


def without_noise(layer: Any) -> Any:
    """Return the output of Addons's `NoisyDense` at inference."""
    layer(VECTORS)
    noise = [np.zeros_like(KERNEL), np.zeros_like(BIAS)]
    layer.set_weights([0.1 * KERNEL, KERNEL, GAIN, BIAS, *noise])
    return layer(VECTORS)


def of_metric(metric: Any, *data: Any) -> Any:
    """Return a metric's result for one batch."""
    metric.update_state(*data)
    return metric.result()


def path(tf: Any, optimizer: Any) -> list[Any]:
    """Return a variable after each step of an optimizer of Addons."""
    variable, values = tf.Variable(START), []
    for gradient in GRADIENTS:
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        values.append(variable.numpy())
    return values


def path_now(keras: Any, optimizer: Any) -> list[Any]:
    """Return a variable after each step of an optimizer of Keras."""
    variable, values = keras.Variable(START), []
    optimizer.build([variable])
    for gradient in GRADIENTS:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        values.append(keras.ops.convert_to_numpy(variable.value).copy())
    return values


def falling(keras: Any) -> Any:
    """Return a schedule whose rate falls twice in ten steps."""
    schedules = keras.optimizers.schedules
    return schedules.PiecewiseConstantDecay([2, 5], [0.1, 0.05, 0.01])


def warmed_up(
    keras: Any,
    rate: float,
    total_steps: int,
    warmup_proportion: float = 0.1,
    min_lr: float = 0.0,
) -> Any:
    """Return the schedule of the page for `total_steps`."""
    ops, warmup = keras.ops, warmup_proportion * total_steps
    rest = max(total_steps - warmup, 1)

    class AddonsWarmup(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            step = ops.cast(step, "float32") + 1
            share = ops.minimum((step - warmup) / rest, 1)
            rising = rate * step / warmup
            return ops.where(step <= warmup, rising, rate + (min_lr - rate) * share)

    return AddonsWarmup()


def decaying(keras: Any, decay: Any = lambda step: 0.02) -> Any:
    """Return Adam with a decay that has its own schedule, as on the page."""

    class AddonsAdamW(keras.optimizers.Adam):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign_sub(variable, decay(self.iterations) * variable)
            super().update_step(gradient, variable, learning_rate)

    return AddonsAdamW


def rates(schedule: Any) -> list[float]:
    """Return the learning rates of some steps."""
    return [float(schedule(step)) for step in range(25)]


def over_pairs(labels: Any, values: Any) -> Any:
    """Return the mean over all pairs of one value per sample, as the page does."""
    labels = np.reshape(labels, -1)
    positives = (labels[:, None] == labels).sum(axis=1) - 1
    return (positives * np.asarray(values)).sum() / positives.sum()


def potentials(ext: Any) -> Any:
    """Return the potentials of a CRF without boundaries."""
    layer = ext.layers.CRF(4, use_boundary=False)
    return with_weights(layer, EMISSIONS, [TRANSITIONS])


def sampled(keras: Any, images: Any, rows: Any, columns: Any, **options: Any) -> Any:
    """Return the values of images at points, one channel at a time."""
    number = np.arange(len(images), dtype="float32").reshape(-1, *[1] * (rows.ndim - 1))
    where = np.stack([np.broadcast_to(number, rows.shape), rows, columns])
    channels = [
        keras.ops.image.map_coordinates(images[..., c], where, order=1, **options)
        for c in range(images.shape[-1])
    ]
    return keras.ops.stack(channels, axis=-1)


def unpooled(ext: Any, like: Any = None) -> Any:
    """Return images in which only the maxima are left."""
    maxima, positions = ext.layers.MaxPoolingWithArgmax2D(2)(IMAGES)
    return ext.layers.MaxUnpooling2D(2)(maxima, positions, like=like)


def rotation() -> Any:
    """Return the rows of `affine_transform` for `ANGLES`, as the page says."""
    cos, sin, zero = np.cos(ANGLES), np.sin(ANGLES), np.zeros_like(ANGLES)
    x, y = 3.5, 2.5
    rows = [cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos]
    return np.stack([*rows, zero, zero], axis=-1)


def pooling() -> list[Row]:
    """Return the rows of the adaptive pooling layers."""
    rows = []
    for kind in ("Average", "Max"):
        for rank, inputs, size in (
            (1, SERIES, 4),
            (2, IMAGES, (3, 4)),
            (3, VOLUMES, 2),
        ):
            name = f"Adaptive{kind}Pooling{rank}D"
            rows.append(
                Row(
                    name,
                    lambda tf, tfa, n=name, x=inputs, s=size: getattr(tfa.layers, n)(s)(
                        x
                    ),
                    lambda k, ext, n=name, x=inputs, s=size: getattr(k.layers, n)(s)(x),
                )
            )
    return rows


def layers() -> list[Row]:
    """Return the rows of layers."""
    return [
        *pooling(),
        Row(
            "FilterResponseNormalization",
            lambda tf, tfa: with_weights(
                tfa.layers.FilterResponseNormalization(),
                IMAGES,
                [GAMMA.reshape(1, 1, 1, 4), BETA.reshape(1, 1, 1, 4)],
            ),
            lambda k, ext: with_weights(
                ext.layers.FilterResponseNormalization(), IMAGES, [GAMMA, BETA]
            ),
        ),
        Row(
            "GroupNormalization",
            lambda tf, tfa: with_weights(
                tfa.layers.GroupNormalization(groups=2), IMAGES, [GAMMA, BETA]
            ),
            lambda k, ext: with_weights(
                k.layers.GroupNormalization(groups=2), IMAGES, [GAMMA, BETA]
            ),
        ),
        Row(
            "InstanceNormalization",
            lambda tf, tfa: with_weights(
                tfa.layers.InstanceNormalization(), IMAGES, [GAMMA, BETA]
            ),
            lambda k, ext: with_weights(
                k.layers.GroupNormalization(groups=-1), IMAGES, [GAMMA, BETA]
            ),
        ),
        Row(
            "MaxUnpooling2D",
            lambda tf, tfa: tfa.layers.MaxUnpooling2D(padding="VALID")(
                *tf.nn.max_pool_with_argmax(IMAGES, 2, 2, "VALID")
            ),
            lambda k, ext: unpooled(ext),
        ),
        Row(
            "MaxUnpooling2DV2",
            lambda tf, tfa: tfa.layers.MaxUnpooling2DV2(IMAGES.shape)(
                *tf.nn.max_pool_with_argmax(IMAGES, 2, 2, "VALID")
            ),
            lambda k, ext: unpooled(ext, IMAGES),
        ),
        Row(
            "Maxout",
            lambda tf, tfa: tfa.layers.Maxout(2)(IMAGES),
            lambda k, ext: ext.layers.Maxout(2)(IMAGES[..., [0, 2, 1, 3]]),
        ),
        Row(
            "NoisyDense",
            lambda tf, tfa: without_noise(tfa.layers.NoisyDense(4)),
            lambda k, ext: with_weights(
                ext.layers.NoisyDense(4), VECTORS, [KERNEL, 0.1 * KERNEL, BIAS, GAIN]
            ),
        ),
        Row(
            "PoincareNormalize",
            lambda tf, tfa: tfa.layers.PoincareNormalize()(VECTORS),
            lambda k, ext: (
                VECTORS
                * k.ops.minimum(
                    1,
                    (1 - 1e-5)
                    * k.ops.rsqrt(k.ops.sum(VECTORS**2, axis=1, keepdims=True)),
                )
            ),
        ),
        Row(
            "Snake",
            lambda tf, tfa: with_weights(tfa.layers.Snake(), VECTORS, [np.array(0.7)]),
            lambda k, ext: with_weights(ext.layers.Snake(), VECTORS, [np.array(0.7)]),
        ),
        Row(
            "Sparsemax",
            lambda tf, tfa: tfa.layers.Sparsemax()(VECTORS),
            lambda k, ext: ext.layers.Sparsemax()(VECTORS),
        ),
        Row(
            "SpatialPyramidPooling2D",
            lambda tf, tfa: tfa.layers.SpatialPyramidPooling2D([1, 2])(IMAGES),
            lambda k, ext: ext.layers.SpatialPyramidPooling([1, 2], pooling="average")(
                IMAGES
            ),
        ),
        Row(
            "SpectralNormalization",
            lambda tf, tfa: with_weights(
                tfa.layers.SpectralNormalization(tf.keras.layers.Dense(4)),
                VECTORS,
                [KERNEL, BIAS, GAIN[None]],
                training=True,
            ),
            lambda k, ext: with_weights(
                k.layers.SpectralNormalization(k.layers.Dense(4)),
                VECTORS,
                [KERNEL, GAIN[None], BIAS],
                training=True,
            ),
        ),
        Row(
            "TLU",
            lambda tf, tfa: with_weights(tfa.layers.TLU(), VECTORS, [START]),
            lambda k, ext: with_weights(ext.layers.TLU(), VECTORS, [START]),
        ),
        Row(
            "WeightNormalization",
            lambda tf, tfa: with_weights(
                tfa.layers.WeightNormalization(tf.keras.layers.Dense(4), False),
                VECTORS,
                [GAIN, KERNEL, BIAS, np.array(True)],
            ),
            lambda k, ext: with_weights(
                ext.layers.WeightNormalization(k.layers.Dense(4), data_init=False),
                VECTORS,
                [GAIN, KERNEL, BIAS],
            ),
        ),
    ]


def activations() -> list[Row]:
    """Return the rows of activations."""
    return [
        Row(
            "gelu",
            lambda tf, tfa: tfa.activations.gelu(VECTORS, approximate=True),
            lambda k, ext: k.activations.gelu(VECTORS, approximate=True),
        ),
        Row(
            "hardshrink",
            lambda tf, tfa: tfa.activations.hardshrink(VECTORS),
            lambda k, ext: k.activations.hard_shrink(VECTORS),
        ),
        Row(
            "lisht",
            lambda tf, tfa: tfa.activations.lisht(VECTORS),
            lambda k, ext: VECTORS * k.ops.tanh(VECTORS),
        ),
        Row(
            "mish",
            lambda tf, tfa: tfa.activations.mish(VECTORS),
            lambda k, ext: k.activations.mish(VECTORS),
        ),
        Row(
            "snake",
            lambda tf, tfa: tfa.activations.snake(VECTORS, 0.7),
            lambda k, ext: ext.layers.snake(VECTORS, 0.7),
        ),
        Row(
            "softshrink",
            lambda tf, tfa: tfa.activations.softshrink(VECTORS),
            lambda k, ext: k.activations.soft_shrink(VECTORS),
        ),
        Row(
            "sparsemax",
            lambda tf, tfa: tfa.activations.sparsemax(VECTORS),
            lambda k, ext: ext.layers.sparsemax(VECTORS),
        ),
        Row(
            "tanhshrink",
            lambda tf, tfa: tfa.activations.tanhshrink(VECTORS),
            lambda k, ext: k.activations.tanh_shrink(VECTORS),
        ),
    ]


def losses() -> list[Row]:
    """Return the rows of losses."""
    return [
        Row(
            "ContrastiveLoss",
            lambda tf, tfa: tfa.losses.contrastive_loss(BITS[:, 0], SHARES[:, 0]),
            lambda k, ext: ext.losses.contrastive(BITS[:, 0], SHARES[:, 0]),
        ),
        Row(
            "GIoULoss",
            lambda tf, tfa: [
                tfa.losses.giou_loss(BOXES, MOVED, mode) for mode in ("giou", "iou")
            ],
            lambda k, ext: [
                ext.losses.iou(BOXES, MOVED, form, "yxyx") for form in ("giou", "iou")
            ],
        ),
        Row(
            "LiftedStructLoss",
            lambda tf, tfa: tfa.losses.lifted_struct_loss(
                tf.constant(UNBALANCED), tf.constant(VECTORS)
            ),
            lambda k, ext: over_pairs(
                UNBALANCED, ext.losses.lifted_struct(UNBALANCED, VECTORS)
            ),
        ),
        Row(
            "NpairsLoss",
            lambda tf, tfa: tfa.losses.NpairsLoss()(
                np.arange(8), VECTORS @ VECTORS[::-1].T
            ),
            lambda k, ext: ext.losses.NPairs()(
                np.arange(8), np.stack([VECTORS, VECTORS[::-1]], axis=1)
            ),
        ),
        Row(
            "NpairsMultilabelLoss",
            lambda tf, tfa: tfa.losses.NpairsMultilabelLoss()(
                BITS, VECTORS @ VECTORS[::-1].T
            ),
            lambda k, ext: ext.losses.NPairsMultilabel()(
                BITS, np.stack([VECTORS, VECTORS[::-1]], axis=1)
            ),
        ),
        Row(
            "PinballLoss",
            lambda tf, tfa: [
                tfa.losses.pinball_loss(BITS, VECTORS, tau) for tau in (0.0, 0.9, 1.0)
            ],
            lambda k, ext: [
                ext.losses.pinball(BITS, VECTORS, tau) for tau in (0.0, 0.9, 1.0)
            ],
        ),
        Row(
            "SigmoidFocalCrossEntropy",
            lambda tf, tfa: tfa.losses.sigmoid_focal_crossentropy(BITS, SHARES) / 5,
            lambda k, ext: k.losses.binary_focal_crossentropy(
                BITS, SHARES, apply_class_balancing=True
            ),
        ),
        Row(
            "SparsemaxLoss",
            lambda tf, tfa: tfa.losses.SparsemaxLoss()(ONE_HOT, VECTORS),
            lambda k, ext: ext.losses.Sparsemax(sparse_y_true=False)(ONE_HOT, VECTORS),
        ),
        Row(
            "TripletHardLoss",
            lambda tf, tfa: [
                tfa.losses.triplet_hard_loss(LABELS, VECTORS, 1.0, soft, distance)
                for soft in (False, True)
                for distance in ("L2", "squared-L2", "angular")
            ],
            lambda k, ext: [
                ext.losses.TripletHard(1.0, distance, soft)(LABELS, VECTORS)
                for soft in (False, True)
                for distance in ("euclidean", "squared_euclidean", "cosine")
            ],
        ),
        Row(
            "TripletSemiHardLoss",
            lambda tf, tfa: [
                tfa.losses.triplet_semihard_loss(UNBALANCED, VECTORS, 1.0, distance)
                for distance in ("L2", "squared-L2", "angular")
            ],
            lambda k, ext: [
                over_pairs(
                    UNBALANCED,
                    ext.losses.triplet_semi_hard(
                        UNBALANCED, VECTORS, distance=distance
                    ),
                )
                for distance in ("euclidean", "squared_euclidean", "cosine")
            ],
        ),
    ]


def metrics() -> list[Row]:
    """Return the rows of metrics."""
    weights = (None, "linear", "quadratic")
    return [
        Row(
            "CohenKappa",
            lambda tf, tfa: [
                of_metric(
                    tfa.metrics.CohenKappa(5, weightage=w, sparse_labels=True),
                    CLASSES,
                    SHARES,
                )
                for w in weights
            ],
            lambda k, ext: [
                of_metric(ext.metrics.CohenKappa(5, weights=w), CLASSES, SHARES)
                for w in weights
            ],
        ),
        Row(
            "CohenKappa(regression=True)",
            lambda tf, tfa: [
                of_metric(
                    tfa.metrics.CohenKappa(
                        5, weightage=w, sparse_labels=True, regression=True
                    ),
                    CLASSES,
                    GRADES,
                )
                for w in weights
            ],
            lambda k, ext: [
                of_metric(
                    ext.metrics.CohenKappa(5, weights=w, regression=True),
                    CLASSES,
                    GRADES,
                )
                for w in weights
            ],
        ),
        Row(
            "F1Score, FBetaScore",
            lambda tf, tfa: [
                of_metric(tfa.metrics.F1Score(5, "macro"), ONE_HOT, SHARES),
                of_metric(tfa.metrics.FBetaScore(5, "micro", 2.0, 0.5), BITS, SHARES),
            ],
            lambda k, ext: [
                of_metric(k.metrics.F1Score("macro"), ONE_HOT, SHARES),
                of_metric(k.metrics.FBetaScore("micro", 2.0, 0.5), BITS, SHARES),
            ],
        ),
        Row(
            "GeometricMean",
            lambda tf, tfa: of_metric(tfa.metrics.GeometricMean(), SHARES),
            lambda k, ext: of_metric(ext.metrics.GeometricMean(), SHARES),
        ),
        Row(
            "HammingLoss",
            lambda tf, tfa: [
                of_metric(tfa.metrics.HammingLoss(mode, threshold=threshold), *data)
                for mode, threshold, *data in (
                    ("multilabel", 0.4, BITS, SHARES),
                    ("multiclass", 0.4, ONE_HOT, SHARES),
                    ("multiclass", None, ONE_HOT, SHARES),
                )
            ],
            lambda k, ext: [
                of_metric(ext.metrics.HammingLoss(threshold=0.4), BITS, SHARES),
                1 - of_metric(k.metrics.Recall(thresholds=0.4), ONE_HOT, SHARES),
                1 - of_metric(k.metrics.CategoricalAccuracy(), ONE_HOT, SHARES),
            ],
        ),
        Row(
            "HarmonicMean",
            lambda tf, tfa: of_metric(tfa.metrics.HarmonicMean(), SHARES),
            lambda k, ext: of_metric(ext.metrics.HarmonicMean(), SHARES),
        ),
        Row(
            "MatthewsCorrelationCoefficient",
            lambda tf, tfa: of_metric(
                tfa.metrics.MatthewsCorrelationCoefficient(5), ONE_HOT, SHARES
            ),
            lambda k, ext: of_metric(
                ext.metrics.MatthewsCorrelationCoefficient(5), CLASSES, SHARES
            ),
        ),
        Row(
            "MultiLabelConfusionMatrix",
            lambda tf, tfa: of_metric(
                tfa.metrics.MultiLabelConfusionMatrix(5), BITS, SHARES > 0.5
            ),
            lambda k, ext: of_metric(
                ext.metrics.MultiLabelConfusionMatrix(5), BITS, SHARES
            ),
        ),
        Row(
            "RSquare",
            lambda tf, tfa: [
                *of_metric(tfa.metrics.RSquare(multioutput="raw_values"), BITS, SHARES),
                of_metric(tfa.metrics.RSquare(), BITS, SHARES),
                of_metric(
                    tfa.metrics.RSquare(multioutput="variance_weighted"), BITS, SHARES
                ),
            ],
            lambda k, ext: [
                *of_metric(k.metrics.R2Score(class_aggregation=None), BITS, SHARES),
                of_metric(k.metrics.R2Score(), BITS, SHARES),
                of_metric(k.metrics.R2Score("variance_weighted_average"), BITS, SHARES),
            ],
        ),
        Row(
            "hamming_distance",
            lambda tf, tfa: tfa.metrics.hamming_distance(BITS[:, 0], BITS[:, 1]),
            lambda k, ext: k.ops.mean(k.ops.not_equal(BITS[:, 0], BITS[:, 1])),
        ),
    ]


def optimizers() -> list[Row]:
    """Return the rows of optimizers and schedules: ten steps of a vector, 25 rates."""
    cycle = (0.01, 0.1, 5)

    def halved(x: Any) -> Any:
        return 0.5**x

    return [
        Row(
            "AdaBelief",
            lambda tf, tfa: path(tf, tfa.optimizers.AdaBelief(0.01, rectify=False)),
            lambda k, ext: path_now(k, ext.optimizers.AdaBelief(0.01, rectify=False)),
        ),
        Row(
            "AdaBelief(total_steps=9)",
            lambda tf, tfa: path(
                tf,
                tfa.optimizers.AdaBelief(
                    0.01, rectify=False, total_steps=9, warmup_proportion=0.3
                ),
            ),
            lambda k, ext: path_now(
                k, ext.optimizers.AdaBelief(warmed_up(k, 0.01, 9, 0.3), rectify=False)
            ),
        ),
        Row(
            "AdamW",
            lambda tf, tfa: path(tf, tfa.optimizers.AdamW(0.02, learning_rate=0.1)),
            lambda k, ext: path_now(k, k.optimizers.AdamW(0.1, weight_decay=0.2)),
        ),
        Row(
            "AdamW(learning_rate=schedule)",
            lambda tf, tfa: path(
                tf,
                tfa.optimizers.AdamW(0.02, learning_rate=falling(tf.keras)),
            ),
            lambda k, ext: path_now(k, decaying(k)(falling(k))),
        ),
        Row(
            "AdamW(weight_decay=schedule)",
            lambda tf, tfa: path(
                tf, tfa.optimizers.AdamW(falling(tf.keras), learning_rate=0.1)
            ),
            lambda k, ext: path_now(k, decaying(k, falling(k))(0.1)),
        ),
        Row(
            "SGDW",
            lambda tf, tfa: path(
                tf, tfa.optimizers.SGDW(0.02, learning_rate=0.1, momentum=0.9)
            ),
            lambda k, ext: path_now(
                k, k.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.2)
            ),
        ),
        Row(
            "CyclicalLearningRate",
            lambda tf, tfa: rates(tfa.optimizers.CyclicalLearningRate(*cycle, halved)),
            lambda k, ext: rates(ext.schedules.Cyclical(*cycle, scale_fn=halved)),
        ),
        Row(
            "ExponentialCyclicalLearningRate",
            lambda tf, tfa: rates(
                tfa.optimizers.ExponentialCyclicalLearningRate(*cycle, gamma=0.9)
            ),
            lambda k, ext: rates(
                ext.schedules.Cyclical(
                    *cycle, mode="exp_range", gamma=0.9, scale_mode="iterations"
                )
            ),
        ),
        Row(
            "Triangular2CyclicalLearningRate",
            lambda tf, tfa: rates(
                tfa.optimizers.Triangular2CyclicalLearningRate(*cycle)
            ),
            lambda k, ext: rates(ext.schedules.Cyclical(*cycle, mode="triangular2")),
        ),
        Row(
            "TriangularCyclicalLearningRate",
            lambda tf, tfa: rates(
                tfa.optimizers.TriangularCyclicalLearningRate(*cycle)
            ),
            lambda k, ext: rates(ext.schedules.Cyclical(*cycle)),
        ),
        Row(
            "LAMB",
            lambda tf, tfa: path(tf, tfa.optimizers.LAMB(0.01)),
            lambda k, ext: path_now(k, k.optimizers.Lamb(0.01, epsilon=1e-6)),
        ),
        Row(
            "LazyAdam",
            lambda tf, tfa: path(tf, tfa.optimizers.LazyAdam(0.01)),
            lambda k, ext: path_now(k, ext.optimizers.LazyAdam(0.01)),
        ),
        Row(
            "Lookahead",
            lambda tf, tfa: path(
                tf, tfa.optimizers.Lookahead(tf.keras.optimizers.legacy.Adam(0.01), 3)
            ),
            lambda k, ext: path_now(
                k, ext.optimizers.Lookahead(k.optimizers.Adam(0.01), 3)
            ),
        ),
        Row(
            "NovoGrad",
            lambda tf, tfa: path(tf, tfa.optimizers.NovoGrad(0.01)),
            lambda k, ext: path_now(k, ext.optimizers.NovoGrad(0.01)),
        ),
        Row(
            "ProximalAdagrad",
            lambda tf, tfa: path(tf, tfa.optimizers.ProximalAdagrad(0.01)),
            lambda k, ext: path_now(
                k, k.optimizers.Adagrad(0.01, initial_accumulator_value=0.1)
            ),
        ),
        Row(
            "Yogi",
            lambda tf, tfa: path(tf, tfa.optimizers.Yogi(0.01)),
            lambda k, ext: path_now(k, ext.optimizers.Yogi(0.01)),
        ),
    ]


def images() -> list[Row]:
    """Return the rows of images."""
    y, x = np.meshgrid(np.arange(6.0), np.arange(8.0), indexing="ij")

    def padded(k: Any) -> Any:
        return k.ops.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")

    def transformed(k: Any, row: list[float]) -> Any:
        return k.ops.image.affine_transform(PHOTO, np.array(row, "float32"), "nearest")

    controlled = [IMAGES, CONTROLS, GOALS]

    def warped(ext: Any, order: int, weight: float) -> Any:
        layer = ext.layers.SparseImageWarp(
            interpolation_order=order,
            regularization_weight=weight,
            num_boundary_points=2,
            return_flow=True,
        )
        return layer(controlled)

    return [
        Row(
            "angles_to_projective_transforms",
            lambda tf, tfa: tfa.image.angles_to_projective_transforms(ANGLES, 6.0, 8.0),
            lambda k, ext: rotation(),
        ),
        Row(
            "dense_image_warp",
            lambda tf, tfa: tfa.image.dense_image_warp(IMAGES, FLOW),
            lambda k, ext: sampled(
                k,
                IMAGES,
                (y - FLOW[..., 0]).astype("float32"),
                (x - FLOW[..., 1]).astype("float32"),
                fill_mode="nearest",
            ),
        ),
        Row(
            "gaussian_filter2d",
            lambda tf, tfa: tfa.image.gaussian_filter2d(IMAGES, padding="CONSTANT"),
            lambda k, ext: k.ops.image.gaussian_blur(IMAGES),
        ),
        Row(
            "interpolate_bilinear",
            lambda tf, tfa: tfa.image.interpolate_bilinear(IMAGES, POINTS),
            lambda k, ext: sampled(
                k, IMAGES, POINTS[..., 0], POINTS[..., 1], fill_mode="nearest"
            ),
        ),
        Row(
            "interpolate_spline",
            lambda tf, tfa: [
                tfa.image.interpolate_spline(CONTROLS, GOALS, POINTS, *spline)
                for spline in SPLINES
            ],
            lambda k, ext: [
                ext.layers.interpolate_spline(CONTROLS, GOALS, POINTS, *spline)
                for spline in SPLINES
            ],
        ),
        Row(
            "mean_filter2d",
            lambda tf, tfa: tfa.image.mean_filter2d(IMAGES),
            lambda k, ext: k.ops.average_pool(padded(k), 3, strides=1),
        ),
        Row(
            "median_filter2d",
            lambda tf, tfa: tfa.image.median_filter2d(IMAGES),
            lambda k, ext: ext.layers.MedianFilter2D()(IMAGES),
        ),
        Row(
            "resampler",
            lambda tf, tfa: tfa.image.resampler(IMAGES, POINTS),
            lambda k, ext: sampled(k, IMAGES, POINTS[..., 1], POINTS[..., 0]),
        ),
        Row(
            "rotate",
            lambda tf, tfa: tfa.image.rotate(IMAGES, ANGLES, "bilinear"),
            lambda k, ext: ext.layers.Rotation2D()([IMAGES, ANGLES]),
        ),
        Row(
            "shear_x, shear_y",
            lambda tf, tfa: [
                tfa.image.shear_x(PHOTO, 0.3, 0.0),
                tfa.image.shear_y(PHOTO, 0.3, 0.0),
            ],
            lambda k, ext: [
                transformed(k, [1, 0.3, 0, 0, 1, 0, 0, 0]),
                transformed(k, [1, 0, 0, 0.3, 1, 0, 0, 0]),
            ],
        ),
        Row(
            "sparse_image_warp",
            # In float32, Addons itself is off by 8e-6.
            lambda tf, tfa: [
                tfa.image.sparse_image_warp(*map(np.float64, controlled), *spline, 2)
                for spline in SPLINES[:3]
            ],
            lambda k, ext: [warped(ext, *spline) for spline in SPLINES[:3]],
        ),
        Row(
            "transform",
            lambda tf, tfa: tfa.image.transform(IMAGES, TRANSFORM, "bilinear"),
            lambda k, ext: k.ops.image.affine_transform(
                IMAGES, np.stack([TRANSFORM, TRANSFORM])
            ),
        ),
        Row(
            "translate",
            lambda tf, tfa: tfa.image.translate(PHOTO, [2.0, -1.0]),
            lambda k, ext: transformed(k, [1, 0, -2, 0, 1, 1, 0, 0]),
        ),
    ]


def sequences() -> list[Row]:
    """Return the rows of `tfa.seq2seq` and `tfa.text`."""
    lengths = np.full(3, 6)
    previous = ONE_HOT[:, ::-1].copy()

    def monotonic(k: Any) -> Any:
        ones = k.ops.ones((8, 1))
        c = k.ops.cumprod(k.ops.concatenate([ones, 1 - SHARES[:, :-1]], axis=1), axis=1)
        return SHARES * c * k.ops.cumsum(previous / k.ops.clip(c, 1e-10, 1), axis=1)

    return [
        Row(
            "SequenceLoss",
            lambda tf, tfa: tfa.seq2seq.sequence_loss(
                tf.constant(EMISSIONS), tf.constant(TAGS), tf.constant(WEIGHTS)
            ),
            lambda k, ext: k.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )(TAGS, EMISSIONS, sample_weight=WEIGHTS),
        ),
        Row(
            "hardmax",
            lambda tf, tfa: tfa.seq2seq.hardmax(VECTORS),
            lambda k, ext: k.ops.one_hot(k.ops.argmax(VECTORS, axis=-1), 5),
        ),
        Row(
            "monotonic_attention",
            lambda tf, tfa: tfa.seq2seq.monotonic_attention(
                SHARES, previous, "parallel"
            ),
            lambda k, ext: monotonic(k),
        ),
        Row(
            "safe_cumprod",
            lambda tf, tfa: tfa.seq2seq.safe_cumprod(SHARES, axis=1),
            lambda k, ext: k.ops.cumprod(SHARES, axis=1),
        ),
        Row(
            "tile_batch",
            lambda tf, tfa: tfa.seq2seq.tile_batch(VECTORS, 3),
            lambda k, ext: k.ops.repeat(VECTORS, 3, axis=0),
        ),
        Row(
            "crf_decode",
            lambda tf, tfa: tfa.text.crf_decode(EMISSIONS, TRANSITIONS, lengths)[0],
            lambda k, ext: ext.layers.viterbi_decode(potentials(ext))[0],
        ),
        Row(
            "crf_log_likelihood",
            lambda tf, tfa: tfa.text.crf_log_likelihood(
                EMISSIONS, TAGS, lengths, TRANSITIONS
            )[0],
            lambda k, ext: (
                -ext.losses.crf_negative_log_likelihood(TAGS, potentials(ext))
            ),
        ),
    ]


ROOMS = (layers, activations, losses, metrics, optimizers, images, sequences)


def flat(values: Any) -> np.ndarray:
    """Return numbers, in whatever they are, as one vector."""
    if isinstance(values, (list, tuple)):
        return np.concatenate([flat(value) for value in values])
    return np.ravel(np.asarray(values, "float64"))


def save(file: str) -> None:
    """Save the numbers of TensorFlow Addons."""
    import tensorflow as tf
    import tensorflow_addons as tfa

    rows = [row for room in ROOMS for row in room()]
    np.savez_compressed(file, **{row.name: flat(row.then(tf, tfa)) for row in rows})


def compare(file: str, only: str) -> None:
    """Print the largest differences, as rows of a table."""
    import keras

    import keras_ext

    saved = np.load(file)
    print(HEADER)
    for room in ROOMS:
        for row in room() if only in room.__name__ else []:
            then, now = saved[row.name], flat(row.now(keras, keras_ext))
            difference = np.abs(then - now).max()
            names = ", ".join(f"`{name}`" for name in row.name.split(", "))
            near = f"{difference:.0e}" if difference else "0"
            print(f"| {names} | {near} | {np.abs(then).max():.2g} |")


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the numbers of Addons, .npz")
    parser.add_argument("--save", action="store_true", help="compute them with Addons")
    parser.add_argument("--only", default="", help="of these rooms, such as losses")
    return parser.parse_args()


def main() -> None:
    """Save or compare."""
    options = parse()
    if options.save:
        save(options.file)
    else:
        compare(options.file, options.only)


if __name__ == "__main__":
    main()
