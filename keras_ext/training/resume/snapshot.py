"""What belongs to a run, and is saved with it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from keras_ext.training.base import host_random
from keras_ext.training.data.source import Source
from keras_ext.training.resume import callback_state
from keras_ext.training.resume.variables import RunVariable, run_variables, variables_of

if TYPE_CHECKING:
    from keras_ext.training.loop.epoch import Epoch
    from keras_ext.training.loop.loop import Loop


class RunState:
    """The state of the run of a `Loop`.

    Args:
        loop: The loop.
        others: Further objects whose state belongs to the run, by name.

    Attributes:
        sources: Where the data of this process comes from, by the number of the pass
            within the epoch; or `"validation"`.
        saved_sources: What was saved of those that are to come yet.
        iterators_can_be_saved: Whether those of datasets can.
    """

    def __init__(self, loop: "Loop", others: Mapping[str, Any]) -> None:
        self._loop = loop
        self.others = others
        self.sources: dict[Any, Source] = {}
        self.saved_sources: dict[Any, Any] = {}
        self.iterators_can_be_saved = True

    def variables(self) -> list[RunVariable]:
        """Return all variables that belong to the run."""
        model = self._loop.model
        found = run_variables(model, self._loop.optimizer, self.others)
        if not hasattr(model, "_compiled"):
            return found
        # What the step uses besides: a generator without a layer, for instance.
        values = [getattr(one.variable, "value", one.variable) for one in found]
        parts = map(model.distribute_strategy.experimental_local_results, values)
        known = {id(part) for of_replicas in parts for part in of_replicas}
        if model._watch is not None:
            known.add(id(model._watch.notes))
        captured = model._compiled.train.captured()
        others = {id(one): one for one in captured if id(one) not in known}
        return found + [RunVariable("step", one) for one in others.values()]

    def collect(
        self, index: int, epoch: "Epoch | None"
    ) -> tuple[list[Any], dict[str, Any], list[Any]]:
        """Return variables, plain data and iterators, as `CheckpointFiles` takes them.

        Args:
            index: The epoch to go on with.
            epoch: It, if it has begun.
        """
        variables = self.variables()
        logged = list(self._loop._to_reset)
        if epoch is not None:
            logged += epoch.logged_metrics
        sources, iterators = self._source_states()
        state = {
            **self._state(index, epoch),
            "sources": sources,
            "variables": [list(one.description) for one in variables],
            "reset": self._reset_at_epoch_begin(variables, logged),
        }
        return [one.variable for one in variables], state, iterators

    def _state(self, index: int, epoch: "Epoch | None") -> dict[str, Any]:
        loop = self._loop
        compiled = getattr(loop.model, "_compiled", None)
        return {
            "loop": {
                "epoch": index,
                "seed": loop.seed,
                "steps_made": loop._steps_made,
                "stopped": loop.stop_training,
            },
            "epoch": epoch and epoch.get_state(),
            "callbacks": callback_state.get_states(loop.callbacks.callbacks),
            "others": {
                name: other.get_state()
                for name, other in self.others.items()
                if not variables_of(other)
            },
            "compiled": compiled and compiled.get_state(),
            "random": host_random.get_state(),
        }

    def _reset_at_epoch_begin(
        self, variables: list[RunVariable], logged: list[keras.Metric]
    ) -> list[int]:
        """Return the numbers of the variables that a new epoch begins without."""
        ids = {id(one) for metric in logged for one in metric.variables}
        compiled = self._loop.model.compiled
        return [
            number
            for number, one in enumerate(variables)
            if id(one.variable) in ids or (compiled and one.owner == "metrics")
        ]

    def _source_states(self) -> tuple[list[Any], list[Any]]:
        """Return the states of all sources, and the iterators that belong to them."""
        can = self.iterators_can_be_saved
        states: list[Any] = []
        iterators: list[Any] = []
        for name, source in self.sources.items():
            state, found = source.state(iterators=can)
            numbers = list(range(len(iterators), len(iterators) + len(found)))
            iterators += found
            states.append([name, source.description(), state, numbers if can else None])
        for name, (_, description, state, _) in self.saved_sources.items():
            states.append([name, description, state, None])
        return states, iterators
