"""One row or more per schedule: how to make it, and what to feed it.

`test_conformance.py` puts each through what holds for all schedules. One without a row
fails. To add one, add a row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_ext import schedules


@dataclass(frozen=True)
class ScheduleCase:
    """A schedule, with steps that cover all its branches."""

    make: Callable[[], Any]
    steps: list[int] = field(default_factory=lambda: [0, 1, 5, 10, 50, 1000])
    id: str = ""


SCHEDULES = [
    ScheduleCase(
        lambda: schedules.Chain(
            [0.05, keras.optimizers.schedules.CosineDecay(0.1, decay_steps=40), 0.01],
            boundaries=[5, 45],
        ),
        id="Chain",
    ),
    ScheduleCase(lambda: schedules.Chain([0.05], []), id="Chain-one"),
    ScheduleCase(
        lambda: schedules.Chain(
            [
                schedules.Warmup(schedules.StepDecay(0.1, 2, 0.5), 3),
                schedules.Chain([0.02, schedules.OneCycle(0.1, 30)], [20]),
            ],
            boundaries=[10],
        ),
        id="Chain-nested",
    ),
    ScheduleCase(lambda: schedules.Cyclical(0.01, 0.1, step_size=5), id="Cyclical"),
    ScheduleCase(
        lambda: schedules.Cyclical(0.01, 0.1, step_size=5, mode="triangular2"),
        id="Cyclical-triangular2",
    ),
    ScheduleCase(
        lambda: schedules.Cyclical(
            0.01, 0.1, step_size=5, mode="exp_range", gamma=0.99
        ),
        id="Cyclical-exp_range",
    ),
    ScheduleCase(
        lambda: schedules.Cyclical(0.01, 0.1, 5, scale_fn=keras.ops.tanh),
        id="Cyclical-scale_fn",
    ),
    ScheduleCase(
        lambda: schedules.InverseSquareRoot(0.1, warmup_steps=10),
        id="InverseSquareRoot",
    ),
    ScheduleCase(
        lambda: schedules.InverseSquareRoot(
            0.1, warmup_steps=10, initial_learning_rate=0.02
        ),
        id="InverseSquareRoot-initial",
    ),
    ScheduleCase(lambda: schedules.OneCycle(0.1, total_steps=50), id="OneCycle"),
    ScheduleCase(
        lambda: schedules.OneCycle(
            0.1,
            total_steps=50,
            warmup_fraction=0.25,
            initial_learning_rate=0.02,
            final_learning_rate=0.0,
            anneal="linear",
        ),
        id="OneCycle-linear",
    ),
    ScheduleCase(lambda: schedules.StepDecay(0.1, 5, gamma=0.5), id="StepDecay"),
    ScheduleCase(lambda: schedules.StepDecay(0.1, [2, 10]), id="StepDecay-list"),
    ScheduleCase(lambda: schedules.Warmup(0.1, warmup_steps=10), id="Warmup"),
    ScheduleCase(
        lambda: schedules.Warmup(
            keras.optimizers.schedules.CosineDecay(0.1, decay_steps=40),
            warmup_steps=10,
            initial_learning_rate=0.01,
        ),
        id="Warmup-schedule",
    ),
    ScheduleCase(
        lambda: schedules.Warmup(schedules.OneCycle(0.1, total_steps=40), 10),
        id="Warmup-OneCycle",
    ),
]
