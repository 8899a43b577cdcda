"""Optimizers that Keras lacks: relatives of Adam, and a wrapper that looks ahead."""

from keras_ext.optimizers.ada_belief import AdaBelief
from keras_ext.optimizers.lazy_adam import LazyAdam
from keras_ext.optimizers.lookahead import Lookahead
from keras_ext.optimizers.novo_grad import NovoGrad
from keras_ext.optimizers.rectified_adam import RectifiedAdam
from keras_ext.optimizers.yogi import Yogi

__all__ = [
    "AdaBelief",
    "LazyAdam",
    "Lookahead",
    "NovoGrad",
    "RectifiedAdam",
    "Yogi",
]
