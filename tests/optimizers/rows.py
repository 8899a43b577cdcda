"""One row or more per optimizer: how to make it.

`test_conformance.py` puts each through what holds for all optimizers. One without a row
fails. To add one, add a row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_ext import optimizers


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer whose rate can be set."""

    make: Callable[[], Any]
    id: str = ""


OPTIMIZERS = [
    OptimizerCase(lambda: optimizers.AdaBelief(0.1), id="AdaBelief"),
    OptimizerCase(
        lambda: optimizers.AdaBelief(
            0.05,
            beta_1=0.8,
            beta_2=0.99,
            epsilon=1e-8,
            amsgrad=True,
            rectify=False,
            weight_decay=0.01,
            clipvalue=1.0,
            name="belief",
        ),
        id="AdaBelief-options",
    ),
    OptimizerCase(lambda: optimizers.LazyAdam(0.1), id="LazyAdam"),
    OptimizerCase(
        lambda: optimizers.LazyAdam(
            0.05,
            beta_1=0.8,
            beta_2=0.99,
            epsilon=1e-5,
            amsgrad=True,
            weight_decay=0.01,
            clipnorm=1.0,
            name="lazily",
        ),
        id="LazyAdam-options",
    ),
    OptimizerCase(
        lambda: optimizers.Lookahead(
            keras.optimizers.SGD(0.02, momentum=0.9), sync_period=3
        ),
        id="Lookahead",
    ),
    OptimizerCase(
        lambda: optimizers.Lookahead(
            keras.optimizers.AdamW(0.1, weight_decay=0.1, clipnorm=1.0),
            sync_period=2,
            slow_step_size=0.8,
            name="slowly",
        ),
        id="Lookahead-AdamW",
    ),
    OptimizerCase(
        lambda: optimizers.Lookahead(
            keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), sync_period=2
        ),
        id="Lookahead-accumulation",
    ),
    OptimizerCase(
        lambda: optimizers.Lookahead(optimizers.RectifiedAdam(0.1)),
        id="Lookahead-RectifiedAdam",
    ),
    OptimizerCase(lambda: optimizers.NovoGrad(0.05), id="NovoGrad"),
    OptimizerCase(
        lambda: optimizers.NovoGrad(
            0.02,
            beta_1=0.95,
            beta_2=0.98,
            epsilon=1e-5,
            grad_averaging=True,
            amsgrad=True,
            weight_decay=0.001,
            clipnorm=1.0,
            name="novo",
        ),
        id="NovoGrad-options",
    ),
    OptimizerCase(lambda: optimizers.RectifiedAdam(0.1), id="RectifiedAdam"),
    OptimizerCase(
        lambda: optimizers.RectifiedAdam(
            0.05,
            beta_1=0.8,
            beta_2=0.99,
            epsilon=1e-5,
            weight_decay=0.01,
            global_clipnorm=1.0,
            gradient_accumulation_steps=2,
            name="rectified",
        ),
        id="RectifiedAdam-options",
    ),
    OptimizerCase(lambda: optimizers.Yogi(0.1), id="Yogi"),
    OptimizerCase(
        lambda: optimizers.Yogi(
            0.05,
            beta_1=0.8,
            beta_2=0.99,
            epsilon=1e-2,
            initial_accumulator_value=0.1,
            weight_decay=0.01,
            gradient_accumulation_steps=2,
            name="yogi",
        ),
        id="Yogi-options",
    ),
]
