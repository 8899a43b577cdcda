"""Keras's cosine with hard restarts is right, so that it is not built again here."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.reference import more_schedules as reference

CosineDecayRestarts = keras.optimizers.schedules.CosineDecayRestarts


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"t_mul": 1.0},
        {"t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1},
        {"t_mul": 2.0, "m_mul": 0.7},
        {"t_mul": 1.5, "m_mul": 0.9, "alpha": 0.01},
    ],
    ids=str,
)
def test_equals_the_paper_at_every_step(options):
    schedule = CosineDecayRestarts(0.1, 17, **options)
    expected = [
        reference.cosine_with_hard_restarts(
            step, 0.1, 17, **{"t_mul": 2.0, "m_mul": 1.0, **options}
        )
        for step in range(300)
    ]
    rates = ops.vectorized_map(schedule, ops.arange(300))
    np.testing.assert_allclose(rates, expected, rtol=1e-4, atol=1e-6)
