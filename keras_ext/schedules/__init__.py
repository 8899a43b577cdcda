"""Learning rate schedules: functions from the training step to the learning rate."""

from keras_ext.schedules.chain import Chain
from keras_ext.schedules.cyclical import Cyclical
from keras_ext.schedules.inverse_square_root import InverseSquareRoot
from keras_ext.schedules.one_cycle import OneCycle
from keras_ext.schedules.plot_schedule import plot_schedule
from keras_ext.schedules.step_decay import StepDecay
from keras_ext.schedules.warmup import Warmup

__all__ = [
    "Chain",
    "Cyclical",
    "InverseSquareRoot",
    "OneCycle",
    "StepDecay",
    "Warmup",
    "plot_schedule",
]
