"""Learning rate schedules: functions from the training step to the learning rate."""

from keras_ext.schedules.cyclical import Cyclical
from keras_ext.schedules.one_cycle import OneCycle
from keras_ext.schedules.warmup import Warmup

__all__ = ["Cyclical", "OneCycle", "Warmup"]
