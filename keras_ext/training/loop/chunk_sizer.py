"""How many steps to make before callbacks are notified."""

_BUDGET = 0.1
_FIXED = 32


class ChunkSizer:
    """Adapts the number of steps per call to the time that they take.

    About a tenth of a second of work is done at a time, so that the progress bar, a
    stop and Ctrl-C stay prompt. What is computed does not depend on it.

    Args:
        fixed: Whether to make the same number of steps always. Several workers must
            call for as many steps as each other, or they wait for each other forever.
        growth: By which factor the number may grow from call to call.
    """

    def __init__(self, *, fixed: bool = False, growth: int = 8) -> None:
        self._fixed = fixed
        self._growth = growth
        # How long a step takes is not known yet, and the first call compiles as well.
        self._steps = _FIXED if fixed else 1

    @property
    def steps(self) -> int:
        """How many steps to make next."""
        return self._steps

    def ran(self, steps: int, seconds: float) -> None:
        """Take in how long some steps have taken."""
        if self._fixed:
            return
        if steps < self._steps and seconds < _BUDGET:
            return  # the end of the data, which says nothing
        fitting = int(_BUDGET * steps / max(seconds, 1e-9))
        # A single quick call is hardly a measure, so it may not raise the number much.
        self._steps = max(1, min(fitting, self._growth * steps))
