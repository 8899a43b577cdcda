"""How many steps are made at a time."""

import pytest

from keras_ext.training.loop.chunk_sizer import ChunkSizer


def after(*runs):
    pace = ChunkSizer()
    for steps, seconds in runs:
        pace.ran(steps, seconds)
    return pace.steps


def test_it_begins_with_one_step():
    assert after() == 1


def test_it_grows_eightfold_at_most():
    assert after((1, 0.0)) == 8
    assert after((1, 1e-6), (8, 1e-6)) == 64
    assert after((1, 0.0), (8, 0.0), (64, 0.0)) == 512


def test_how_much_it_grows_can_be_said():
    pace = ChunkSizer(growth=64)
    pace.ran(1, 0.0)
    assert pace.steps == 64


@pytest.mark.parametrize(("seconds", "steps"), [(0.05, 16), (0.08, 10), (0.1, 8)])
def test_it_aims_at_a_tenth_of_a_second(seconds, steps):
    assert after((1, 0.0), (8, seconds)) == steps


def test_it_shrinks_at_once():
    fast = [(1, 0.0), (8, 0.0)]
    assert after(*fast, (64, 0.4)) == 16
    assert after(*fast, (64, 6.4)) == 1
    assert after(*fast, (64, 1000.0)) == 1


def test_a_slow_first_step_is_forgotten_after_the_second():
    assert after((1, 30.0)) == 1
    assert after((1, 30.0), (1, 0.0)) == 8


def test_a_short_end_says_nothing():
    fast = [(1, 0.0), (8, 0.0)]
    assert after(*fast, (3, 0.02)) == 64
    assert after(*fast, (1, 0.0)) == 64


def test_a_short_end_that_took_long_does():
    assert after((1, 0.0), (8, 0.0), (4, 0.2)) == 2


def test_what_it_asks_for_is_a_number_of_steps():
    for seconds in (0.0, 1e-12, 0.033, 7.7):
        steps = after((1, seconds))
        assert isinstance(steps, int)
        assert steps >= 1
