"""Losses: functions of every sample, and the `keras.losses.Loss` around them."""

from keras_ext.losses.asymmetric import Asymmetric, asymmetric
from keras_ext.losses.charbonnier import Charbonnier, charbonnier
from keras_ext.losses.contrastive import Contrastive, contrastive
from keras_ext.losses.crf_negative_log_likelihood import (
    CRFNegativeLogLikelihood,
    crf_negative_log_likelihood,
)
from keras_ext.losses.iou import IoU, iou
from keras_ext.losses.lifted_struct import LiftedStruct, lifted_struct
from keras_ext.losses.lovasz_softmax import LovaszSoftmax, lovasz_softmax
from keras_ext.losses.n_pairs import NPairs, n_pairs
from keras_ext.losses.n_pairs_multilabel import NPairsMultilabel, n_pairs_multilabel
from keras_ext.losses.nt_xent import NTXent, nt_xent
from keras_ext.losses.pinball import Pinball, pinball
from keras_ext.losses.poly import Poly, poly
from keras_ext.losses.sparse_categorical_crossentropy import (
    SparseCategoricalCrossentropy,
    sparse_categorical_crossentropy,
)
from keras_ext.losses.sparse_categorical_focal_crossentropy import (
    SparseCategoricalFocalCrossentropy,
    sparse_categorical_focal_crossentropy,
)
from keras_ext.losses.sparsemax import Sparsemax, sparsemax
from keras_ext.losses.ssim import SSIM, ssim
from keras_ext.losses.supervised_contrastive import (
    SupervisedContrastive,
    supervised_contrastive,
)
from keras_ext.losses.triplet_hard import TripletHard, triplet_hard
from keras_ext.losses.triplet_semi_hard import TripletSemiHard, triplet_semi_hard
from keras_ext.losses.weighted_kappa import WeightedKappa, weighted_kappa

__all__ = [
    "SSIM",
    "Asymmetric",
    "CRFNegativeLogLikelihood",
    "Charbonnier",
    "Contrastive",
    "IoU",
    "LiftedStruct",
    "LovaszSoftmax",
    "NPairs",
    "NPairsMultilabel",
    "NTXent",
    "Pinball",
    "Poly",
    "SparseCategoricalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
    "Sparsemax",
    "SupervisedContrastive",
    "TripletHard",
    "TripletSemiHard",
    "WeightedKappa",
    "asymmetric",
    "charbonnier",
    "contrastive",
    "crf_negative_log_likelihood",
    "iou",
    "lifted_struct",
    "lovasz_softmax",
    "n_pairs",
    "n_pairs_multilabel",
    "nt_xent",
    "pinball",
    "poly",
    "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy",
    "sparsemax",
    "ssim",
    "supervised_contrastive",
    "triplet_hard",
    "triplet_semi_hard",
    "weighted_kappa",
]
