"""Five programs of TensorFlow Addons, and what they are now: the same curves.

    python benchmarks/addons_programs.py tests/addons_programs.npz
    python benchmarks/addons_programs.py tests/addons_programs.npz --save

Each is written as people did, and again with what the page
`docs/reference/where_did_it_go.md` says. With `--save`, the former train with Addons,
on Keras 2, and their first weights and curves are saved. That needs Python 3.9 to 3.11
and `pip install "tensorflow==2.15.*" "tensorflow-addons==0.23.0" "numpy<2"`. Otherwise
the latter train from the same weights, and the largest differences are printed.
"""

import argparse
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

Curves = dict[str, list[float]]
rng = np.random.default_rng(0)
LABELS = rng.integers(0, 4, size=256).astype("int32")
POINTS = (rng.normal(size=(4, 16))[LABELS] + rng.normal(size=(256, 16))).astype("f")
GRADES = np.eye(4, dtype="float32")[LABELS]
WORDS = rng.integers(1, 40, size=(128, 9)).astype("int32")
WORDS[np.arange(9) >= rng.integers(4, 10, size=(128, 1))] = 0
TAGS = (WORDS % 5).astype("int32")
OPINIONS = (WORDS.max(axis=1) > 36).astype("float32")
CLEAN = rng.uniform(size=(64, 8, 8, 1)).astype("float32")
NOISY = CLEAN + rng.normal(size=CLEAN.shape, scale=0.2).astype("float32")
FIT = {"batch_size": 32, "epochs": 4, "shuffle": False, "verbose": 0}


def numbers(history: Any) -> Curves:
    """Return the curves of `fit`."""
    return {name: list(map(float, curve)) for name, curve in history.history.items()}


def similar_then(tf: Any, tfa: Any) -> tuple[list[Any], Curves]:
    """Learn embeddings with semi-hard triplets."""
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Dense(32, activation="relu", input_shape=(16,)),
            tf.keras.layers.Dense(8),
            tf.keras.layers.Lambda(lambda x: tf.math.l2_normalize(x, axis=1)),
        ]
    )
    weights = model.get_weights()
    loss = tfa.losses.TripletSemiHardLoss()
    model.compile(tf.keras.optimizers.Adam(0.003), loss=loss)
    return weights, numbers(model.fit(POINTS, LABELS, **FIT))


def similar_now(keras: Any, ext: Any, weights: list[Any]) -> Curves:
    """Do so with the mean over all pairs."""
    ops = keras.ops

    def over_pairs(loss: Any, **options: Any) -> Any:
        def weighted(labels: Any, embeddings: Any) -> Any:
            labels = ops.reshape(labels, (-1,))
            same = ops.cast(labels[:, None] == labels[None, :], "float32")
            positives = ops.sum(same, axis=1) - 1
            values = loss(labels, embeddings, **options)
            return ops.sum(positives * values) / ops.sum(positives)

        return weighted

    model = keras.Sequential(
        [
            keras.Input((16,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(8),
            keras.layers.UnitNormalization(axis=1),
        ]
    )
    model.set_weights(weights)
    loss = over_pairs(ext.losses.triplet_semi_hard, distance="euclidean")
    trainer = ext.Trainer(model)
    trainer.compile(keras.optimizers.Adam(0.003), loss=loss)
    return numbers(trainer.fit(POINTS, LABELS, **FIT))


def tagged_then(tf: Any, tfa: Any) -> tuple[list[Any], Curves]:
    """Tag words with an LSTM in both directions and a CRF."""

    class Tagger(tf.keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = tf.keras.layers.Embedding(40, 16, mask_zero=True)
            lstm = tf.keras.layers.LSTM(8, return_sequences=True)
            self.lstm = tf.keras.layers.Bidirectional(lstm)
            self.crf = tfa.layers.CRF(5)

        def call(self, words: Any) -> Any:
            return self.crf(self.lstm(self.embedding(words)))

        def train_step(self, data: Any) -> dict[str, Any]:
            words, tags = data
            with tf.GradientTape() as tape:
                _, potentials, lengths, chain = self(words, training=True)
                likelihood, _ = tfa.text.crf_log_likelihood(
                    potentials, tags, lengths, chain
                )
                loss = -tf.reduce_mean(likelihood)
            variables = self.trainable_variables
            gradients = tape.gradient(loss, variables)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return {"loss": loss}

    model, curves = Tagger(), {"loss": []}
    model(WORDS[:2])
    weights = model.get_weights()
    model.compile(tf.keras.optimizers.Adam(0.01))
    # Logs of a `train_step` without a metric are those of the last batch.
    for _ in range(FIT["epochs"]):
        options = {**FIT, "epochs": 1}
        curves["loss"] += model.fit(WORDS, TAGS, **options).history["loss"]
    found, *_ = model(WORDS)
    right = (np.asarray(found) == TAGS)[WORDS > 0].mean()
    return weights, {**curves, "right": [float(right)]}


def tagged_now(keras: Any, ext: Any, weights: list[Any]) -> Curves:
    """Do so with a model whose outputs are the potentials."""
    import tensorflow as tf

    class DenseAdam(keras.optimizers.Adam):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            gradient = tf.convert_to_tensor(gradient)
            super().update_step(gradient, variable, learning_rate)

    words = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(40, 16, mask_zero=True)(words)
    x = keras.layers.Bidirectional(keras.layers.LSTM(8, return_sequences=True))(x)
    potentials = ext.layers.CRF(5)(keras.layers.Dense(5)(x))
    tagger = keras.Model(words, potentials)
    # There, those of the chain came before those of the Dense.
    *before, chain, start, end, kernel, bias = weights
    tagger.set_weights([*before, kernel, bias, chain, start, end])
    tagger.compile(DenseAdam(0.01), loss=ext.losses.CRFNegativeLogLikelihood())
    losses: list[float] = []

    class LastBatch(keras.callbacks.Callback):  # type: ignore[misc]
        """Notes the loss of the last batch, from means over those so far."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                self.before = logs["loss"]
            if batch == 3:
                losses.append(4 * logs["loss"] - 3 * self.before)

    tagger.fit(WORDS, TAGS, callbacks=[LastBatch()], **FIT)
    decoder = keras.Model(words, ext.layers.ViterbiDecoder()(potentials))
    found = decoder.predict(WORDS, verbose=0)
    return {"loss": losses, "right": [float((found == TAGS)[WORDS > 0].mean())]}


def graded_then(tf: Any, tfa: Any) -> tuple[list[Any], Curves]:
    """Grade with the quadratic kappa, as a loss and as a metric."""
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Dense(16, activation="relu", input_shape=(16,)),
            tf.keras.layers.Dense(4, activation="softmax"),
        ]
    )
    weights = model.get_weights()
    model.compile(
        tf.keras.optimizers.Adam(0.003),
        loss=tfa.losses.WeightedKappaLoss(num_classes=4, weightage="quadratic"),
        metrics=[tfa.metrics.CohenKappa(num_classes=4, weightage="quadratic")],
    )
    return weights, numbers(model.fit(POINTS, GRADES, **FIT))


def graded_now(keras: Any, ext: Any, weights: list[Any]) -> Curves:
    """Do so with the logarithm, which the loss does not take."""
    model = keras.Sequential(
        [
            keras.Input((16,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    model.set_weights(weights)
    kappa = ext.losses.WeightedKappa(num_classes=4, weights="quadratic")

    def log_kappa(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.log(kappa(y_true, y_pred))

    metric = ext.metrics.CohenKappa(num_classes=4, weights="quadratic")
    trainer = ext.Trainer(model)
    trainer.compile(keras.optimizers.Adam(0.003), loss=log_kappa, metrics=[metric])
    return numbers(trainer.fit(POINTS, LABELS, **FIT))


def restored_then(tf: Any, tfa: Any) -> tuple[list[Any], Curves]:
    """Remove noise from images, with instance normalization."""
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Conv2D(
                8, 3, strides=2, padding="same", input_shape=(8, 8, 1)
            ),
            tfa.layers.InstanceNormalization(),
            tf.keras.layers.LeakyReLU(0.2),
            tf.keras.layers.Conv2DTranspose(8, 3, strides=2, padding="same"),
            tfa.layers.InstanceNormalization(),
            tf.keras.layers.LeakyReLU(0.2),
            tf.keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ]
    )
    weights = model.get_weights()
    model.compile(tf.keras.optimizers.Adam(0.003), loss="mae")
    return weights, numbers(model.fit(NOISY, CLEAN, **FIT))


def restored_now(keras: Any, ext: Any, weights: list[Any]) -> Curves:
    """Do so with groups of one channel."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, strides=2, padding="same"),
            keras.layers.GroupNormalization(groups=-1),
            keras.layers.LeakyReLU(0.2),
            keras.layers.Conv2DTranspose(8, 3, strides=2, padding="same"),
            keras.layers.GroupNormalization(groups=-1),
            keras.layers.LeakyReLU(0.2),
            keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ]
    )
    model.set_weights(weights)
    trainer = ext.Trainer(model)
    trainer.compile(keras.optimizers.Adam(0.003), loss="mae")
    return numbers(trainer.fit(NOISY, CLEAN, **FIT))


def judged_then(tf: Any, tfa: Any) -> tuple[list[Any], Curves]:
    """Classify texts, with AdamW and a cyclical rate."""
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Embedding(40, 16, input_length=9),
            tf.keras.layers.Conv1D(16, 3, activation="relu"),
            tf.keras.layers.GlobalMaxPooling1D(),
            tf.keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    weights = model.get_weights()
    rate = tfa.optimizers.TriangularCyclicalLearningRate(1e-3, 1e-2, step_size=5)
    optimizer = tfa.optimizers.AdamW(weight_decay=1e-3, learning_rate=rate)
    model.compile(optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    return weights, numbers(model.fit(WORDS, OPINIONS, **FIT))


def judged_now(keras: Any, ext: Any, weights: list[Any]) -> Curves:
    """Do so with a decay that the rate does not change, of the words in a batch."""
    import tensorflow as tf

    class AddonsAdamW(keras.optimizers.Adam):  # type: ignore[misc]
        decay = 1e-3

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            decay = self.decay * variable
            if isinstance(gradient, tf.IndexedSlices):
                rows = decay.shape[0]
                counts = tf.math.bincount(gradient.indices, None, rows, rows)
                decay *= tf.cast(counts > 0, decay.dtype)[:, None]
                gradient = tf.convert_to_tensor(gradient)
            self.assign_sub(variable, decay)
            super().update_step(gradient, variable, learning_rate)

    model = keras.Sequential(
        [
            keras.Input((9,), dtype="int32"),
            keras.layers.Embedding(40, 16),
            keras.layers.Conv1D(16, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.set_weights(weights)
    rate = ext.schedules.Cyclical(1e-3, 1e-2, step_size=5)
    trainer = ext.Trainer(model)
    trainer.compile(AddonsAdamW(rate), loss="binary_crossentropy", metrics=["accuracy"])
    return numbers(trainer.fit(WORDS, OPINIONS, **FIT))


PROGRAMS = {
    "similarity": (similar_then, similar_now),
    "tagging": (tagged_then, tagged_now),
    "grading": (graded_then, graded_now),
    "images": (restored_then, restored_now),
    "texts": (judged_then, judged_now),
}


def save(file: str) -> None:
    """Train with TensorFlow Addons."""
    import tensorflow as tf
    import tensorflow_addons as tfa

    arrays = {}
    for name, (then, _) in PROGRAMS.items():
        tf.keras.utils.set_random_seed(1)
        weights, curves = then(tf, tfa)
        arrays |= {f"{name}/weights/{i:02d}": one for i, one in enumerate(weights)}
        arrays |= {f"{name}/curves/{one}": curve for one, curve in curves.items()}
    np.savez_compressed(file, **arrays)


def compared(saved: Any, name: str) -> dict[str, tuple[Any, Any]]:
    """Return each curve of a program: what it was, and what it is."""
    import keras

    import keras_ext

    def parts(kind: str) -> dict[str, Any]:
        path = f"{name}/{kind}/"
        return {key[len(path) :]: saved[key] for key in saved if key.startswith(path)}

    weights = [one for _, one in sorted(parts("weights").items())]
    now = PROGRAMS[name][1](keras, keras_ext, weights)
    then = parts("curves")
    assert then.keys() == now.keys(), (then.keys(), now.keys())
    return {one: (then[one], np.asarray(now[one])) for one in then}


def main() -> None:
    """Save or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="weights and curves of Addons, .npz")
    parser.add_argument("--save", action="store_true", help="compute them with Addons")
    options = parser.parse_args()
    if options.save:
        save(options.file)
        return
    saved = np.load(options.file)
    for name in PROGRAMS:
        for curve, (then, now) in compared(saved, name).items():
            print(f"{name}, {curve}: {then[0]:.4f} to {then[-1]:.4f}, ", end="")
            print(f"largest difference {np.abs(then - now).max():.0e}", flush=True)


if __name__ == "__main__":
    main()
