"""How many steps to make before callbacks are notified."""

_BUDGET = 0.1


class ChunkSizer:
    """Adapts the number of steps per call to the time that they take.

    About a tenth of a second of work is done at a time, so that the progress bar,
    stopping and Ctrl-C stay responsive. The results do not depend on it.

    Args:
        growth: Factor by which the number may grow from call to call.
    """

    def __init__(self, *, growth: int = 8) -> None:
        self._growth = growth
        # The duration of a step is not known yet, and the first call also compiles.
        self._steps = 1

    @property
    def steps(self) -> int:
        """How many steps to make next."""
        return self._steps

    def ran(self, steps: int, seconds: float) -> None:
        """Record how long some steps took."""
        if steps < self._steps and seconds < _BUDGET:
            return  # the end of the data, which is no measure
        fitting = int(_BUDGET * steps / max(seconds, 1e-9))
        # A single quick call is a poor measure, so it may not raise the number much.
        self._steps = max(1, min(fitting, self._growth * steps))
