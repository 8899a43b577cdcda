"""One row or more per loss: how to make it, and what to feed it.

`test_conformance.py` puts each through what holds for all losses. One without a row
fails. To add one, add a row.
"""

import numpy as np

from keras_ext import losses
from tests.pairs import PairCase, labels, logits, normal, probabilities

_rng = np.random.default_rng(7)

_multi_label = _rng.integers(0, 2, size=(12, 4)).astype("float32")
_corners = _rng.uniform(0, 50, size=(2, 12, 2))
_boxes = np.concatenate(
    [_corners, _corners + _rng.uniform(10, 50, size=(2, 12, 2))], axis=-1
).astype("float32")
_images = _rng.uniform(size=(2, 12, 12, 13, 2)).astype("float32")

_classes = np.tile(np.array([3, 8, 8, 3], "int32"), 3)
_tags = np.maximum(_multi_label, np.eye(4, dtype="float32")[labels])
_embeddings = np.random.default_rng(11).normal(size=(12, 2, 5)).astype("float32")

LOSSES = [
    PairCase(losses.Asymmetric, _multi_label, probabilities, id="Asymmetric"),
    PairCase(
        lambda: losses.Asymmetric(
            gamma_negative=0.5, gamma_positive=0, clip=0, from_logits=True
        ),
        _multi_label,
        logits,
        id="Asymmetric-logits",
    ),
    PairCase(losses.Charbonnier, normal(12, 3), normal(12, 3), id="Charbonnier"),
    PairCase(
        losses.CRFNegativeLogLikelihood,
        _rng.integers(0, 3, size=(12, 5), dtype="int32"),
        normal(12, 5, 3, 3),
        id="CRFNegativeLogLikelihood",
    ),
    PairCase(
        losses.Contrastive,
        _multi_label[:, :1],
        np.abs(_embeddings[:, 0, :1]),
        id="Contrastive",
    ),
    *(
        PairCase(
            lambda form=form: losses.IoU(form),
            _boxes[0],
            _boxes[1],
            id=f"IoU-{form}",
        )
        for form in ("iou", "giou", "diou", "ciou")
    ),
    PairCase(losses.LiftedStruct, _classes, _embeddings[:, 0], id="LiftedStruct"),
    PairCase(
        losses.LovaszSoftmax,
        _rng.integers(0, 4, size=(12, 6), dtype="int32"),
        np.tile(probabilities[:, None], (1, 6, 1)),
        id="LovaszSoftmax",
    ),
    PairCase(
        lambda: losses.LovaszSoftmax(classes="all", from_logits=True, ignore_class=9),
        _rng.choice(np.int32([0, 1, 2, 9]), size=(12, 3, 2, 1)),
        normal(12, 3, 2, 4),
        id="LovaszSoftmax-logits",
    ),
    PairCase(losses.NPairs, _classes, _embeddings, id="NPairs"),
    PairCase(losses.NPairsMultilabel, _tags, _embeddings, id="NPairsMultilabel"),
    PairCase(losses.NTXent, _classes, _embeddings, id="NTXent"),
    PairCase(
        lambda: losses.Pinball(tau=0.9), normal(12, 3), normal(12, 3), id="Pinball"
    ),
    PairCase(
        lambda: losses.Pinball(tau=[0.1, 0.5, 0.9]),
        normal(12, 1),
        normal(12, 3),
        id="Pinball-quantiles",
    ),
    PairCase(losses.Poly, labels, probabilities, id="Poly"),
    PairCase(
        lambda: losses.Poly(epsilon=-1, from_logits=True, sparse_y_true=False),
        probabilities,
        logits,
        id="Poly-distributions",
    ),
    PairCase(
        lambda: losses.SSIM(data_format="channels_last"),
        _images[0],
        _images[1],
        id="SSIM",
    ),
    PairCase(
        lambda: losses.SparseCategoricalCrossentropy(label_smoothing=0.1),
        labels,
        probabilities,
        id="SparseCategoricalCrossentropy",
    ),
    PairCase(
        lambda: losses.SparseCategoricalCrossentropy(from_logits=True),
        labels[:, None],
        logits,
        id="SparseCategoricalCrossentropy-logits",
    ),
    PairCase(
        losses.SparseCategoricalFocalCrossentropy,
        labels,
        probabilities,
        id="SparseCategoricalFocalCrossentropy",
    ),
    PairCase(
        lambda: losses.SparseCategoricalFocalCrossentropy(
            alpha=[0.5, 1.0, 2.0, 1.0], gamma=0.5, from_logits=True
        ),
        labels[:, None],
        logits,
        id="SparseCategoricalFocalCrossentropy-logits",
    ),
    PairCase(
        losses.Sparsemax, labels, logits, id="Sparsemax", registered="SparsemaxLoss"
    ),
    PairCase(
        lambda: losses.Sparsemax(sparse_y_true=False),
        probabilities,
        logits,
        id="Sparsemax-distributions",
        registered="SparsemaxLoss",
    ),
    PairCase(
        losses.SupervisedContrastive,
        _classes,
        _embeddings[:, 0],
        id="SupervisedContrastive",
    ),
    PairCase(
        lambda: losses.SupervisedContrastive(temperature=0.5),
        _classes[:, None],
        _embeddings,
        id="SupervisedContrastive-views",
    ),
    PairCase(losses.TripletHard, _classes, _embeddings[:, 0], id="TripletHard"),
    PairCase(
        lambda: losses.TripletHard(distance="cosine", soft_margin=True),
        _classes[:, None],
        _embeddings[:, 0],
        id="TripletHard-soft",
    ),
    PairCase(losses.TripletSemiHard, _classes, _embeddings[:, 0], id="TripletSemiHard"),
    PairCase(
        lambda: losses.WeightedKappa(num_classes=4),
        labels,
        probabilities,
        id="WeightedKappa",
    ),
    PairCase(
        lambda: losses.WeightedKappa(4, weights="linear", from_logits=True),
        labels[:, None],
        logits,
        id="WeightedKappa-logits",
    ),
]
