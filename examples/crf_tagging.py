"""Tag the names of people and places in sentences, with a conditional random field.

Some words are of people's names and of places' names: only their neighbors say which.
The network looks at single words, and `CRF` learns which tags follow each other;
`ViterbiDecoder` finds the best tags of a whole sentence. The sentences, whose words are
numbers, are drawn here from a Markov chain.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure

import keras_ext

TAGS = ["other", "B-person", "I-person", "B-place", "I-place"]
# The probability of a tag after another: no I-place follows B-person.
FOLLOWS = [
    [0.6, 0.2, 0.0, 0.2, 0.0],
    [0.2, 0.0, 0.8, 0.0, 0.0],
    [0.5, 0.0, 0.4, 0.1, 0.0],
    [0.2, 0.0, 0.0, 0.0, 0.8],
    [0.5, 0.1, 0.0, 0.0, 0.4],
]
FIRST_WORD = [1, 6, 14, 9, 16]  # of the five of each tag; some are of two tags
WORDS, LENGTH = 21, 16  # with the word 0, which fills up


def make_sentences(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return words and tags of shape (count, LENGTH); the word 0 fills up."""
    rng = np.random.default_rng(seed)
    words, tags = np.zeros((2, count, LENGTH), "int32")
    for sentence, row in zip(words, tags, strict=True):
        tag = 0
        for step in range(rng.integers(5, LENGTH + 1)):
            tag = rng.choice(len(TAGS), p=FOLLOWS[tag])
            row[step] = tag
            sentence[step] = FIRST_WORD[tag] + rng.integers(5)
    return words, tags


def build_models() -> tuple[keras.Model, keras.Model]:
    """Return the model that is trained, and the one that decodes with it."""
    words = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, 16, mask_zero=True)(words)
    x = layers.Dense(len(TAGS))(x)
    potentials = keras_ext.layers.CRF(len(TAGS), name="crf")(x)
    tags = keras_ext.layers.ViterbiDecoder()(potentials)
    return keras.Model(words, potentials), keras.Model(words, tags)


def most_frequent_tags(words: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return for each word its most frequent tag: the best without the neighbors."""
    counts = np.zeros((WORDS, len(TAGS)))
    np.add.at(counts, (words, tags), 1)
    return counts.argmax(axis=1)


def draw(scores: Any, rows: dict[str, np.ndarray], file: pathlib.Path) -> None:
    """Draw the learned scores of pairs, and the tags of a sentence."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    left.imshow(np.array(scores), cmap="RdBu", vmin=-6, vmax=6)
    for (before, after), score in np.ndenumerate(np.array(scores)):
        left.text(after, before, f"{score:.1f}", ha="center", va="center")
    ticks = {"ticks": range(len(TAGS)), "labels": TAGS}
    left.set_xticks(**ticks, rotation=30)
    left.set_yticks(**ticks)
    left.set(title="Learned score of a tag after another", ylabel="tag before")
    right.imshow(list(rows.values()), cmap="Pastel1", vmin=0, vmax=8, aspect="auto")
    for row, tags in enumerate(rows.values()):
        for step, tag in enumerate(tags):
            right.text(step, row, TAGS[tag], rotation=90, ha="center", va="center")
    right.set_yticks(range(len(rows)), rows)
    right.set(title="A test sentence", xlabel="word")
    figure.savefig(file, dpi=120)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, decode, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/crf_tagging")
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    x, y = make_sentences(1000, options.seed)
    x_test, y_test = make_sentences(200, options.seed + 1)
    model, tagger = build_models()

    def accuracy(found: np.ndarray) -> float:
        return float(np.mean((found == y_test)[x_test > 0]))

    before = accuracy(np.array(tagger(x_test)))
    alone = most_frequent_tags(x, y)[x_test]
    trainer = keras_ext.Trainer(model)
    loss = keras_ext.losses.CRFNegativeLogLikelihood()
    trainer.compile(keras.optimizers.Adam(0.02), loss)
    trainer.fit(x, y, batch_size=50, epochs=options.epochs)
    found = np.array(tagger(x_test))
    result = {"before": before, "alone": accuracy(alone), "crf": accuracy(found)}
    print("Accuracy of tags:", {name: round(part, 3) for name, part in result.items()})
    index = np.argmax((x_test > 0).sum(axis=1))  # a sentence of full length
    rows = {"true": y_test[index], "alone": alone[index], "CRF": found[index]}
    draw(model.get_layer("crf").transitions, rows, options.out / "crf_tagging.png")
    return result


if __name__ == "__main__":
    main()
