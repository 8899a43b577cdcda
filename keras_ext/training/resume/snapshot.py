"""What is saved of a run: its variables, plain data, and dataset iterators."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras

from keras_ext.training.base import host_random
from keras_ext.training.base.interfaces import EpochView, RunView
from keras_ext.training.resume import callback_state
from keras_ext.training.resume.replica_values import ReplicaValues, read_together
from keras_ext.training.resume.variables import RunVariable, run_variables, variables_of


class Snapshot(NamedTuple):
    """A run at a point in time, in the form that `CheckpointStore.write` takes.

    Args:
        variables: The variables, or their values; see `values_of`.
        state: Plain data.
        iterators: Iterators of datasets.
    """

    variables: list[Any]
    state: dict[str, Any]
    iterators: list[Any]


def variables_of_run(run: RunView) -> list[RunVariable]:
    """Return all variables that belong to a run."""
    model = run.model
    found = run_variables(model, run.optimizer, run.others)
    if run.program is None:
        return found
    # What else the step uses, such as a generator without a layer. A step captures
    # TensorFlow variables, under a strategy one for each replica.
    values = [getattr(one.variable, "value", one.variable) for one in found]
    parts = map(model.distribute_strategy.experimental_local_results, values)
    known = {id(part) for of_replicas in parts for part in of_replicas}
    captured = run.program.captured()
    others = {id(one): one for one in captured if id(one) not in known}
    return found + [RunVariable("step", one) for one in others.values()]


def take(
    run: RunView, index: int, epoch: EpochView | None, *, with_iterators: bool
) -> Snapshot:
    """Return the current state of the run.

    Args:
        run: The run.
        index: The epoch to continue with.
        epoch: That epoch, if it has begun.
        with_iterators: Whether iterators of datasets can be saved.
    """
    variables = variables_of_run(run)
    replicas = replica_values(run).gather([one.variable for one in variables])
    logged = list(run.metrics_to_reset)
    if epoch is not None:
        logged += epoch.logged_metrics
    sources, iterators = _source_states(run, with_iterators)
    state = {
        "loop": run.get_state(index),
        "epoch": epoch and epoch.get_state(),
        "callbacks": callback_state.get_states(run.callbacks),
        "others": {
            name: other.get_state()
            for name, other in run.others.items()
            # Others are saved by their variables.
            if not variables_of(other)
        },
        "compiled": run.program and run.program.get_state(),
        "random": host_random.get_state(),
        "sources": sources,
        "variables": [list(one.description) for one in variables],
        "reset": _reset_at_epoch_begin(run, variables, logged),
        "replicas": [list(item) for item in replicas.items()],
        "workers": 1 if run.workers is None else run.workers.count,
    }
    return Snapshot([one.variable for one in variables], state, iterators)


def replica_values(run: RunView) -> ReplicaValues:
    """Return what reads and sets the variables of a run that replicas have parts of."""
    return ReplicaValues(run.model.distribute_strategy, run.workers)


def values_of(snapshot: Snapshot) -> list[Any]:
    """Return the variables, and the values of those that replicas have parts of."""
    return read_together(snapshot.variables, dict(snapshot.state["replicas"]))


def without_iterators(snapshot: Snapshot) -> Snapshot:
    """Return the same without the iterators, so that batches are read again."""
    sources = [[*item[:3], None] for item in snapshot.state["sources"]]
    return Snapshot(snapshot.variables, {**snapshot.state, "sources": sources}, [])


def _reset_at_epoch_begin(
    run: RunView, variables: Iterable[RunVariable], logged: Iterable[keras.Metric]
) -> list[int]:
    """Return the numbers of the variables that a new epoch begins without."""
    ids = {id(one) for metric in logged for one in metric.variables}
    compiled = run.model.compiled
    return [
        number
        for number, one in enumerate(variables)
        if id(one.variable) in ids or (compiled and one.owner == "metrics")
    ]


def _source_states(run: RunView, can: bool) -> tuple[list[Any], list[Any]]:
    """Return the states of all sources, and the iterators that belong to them."""
    states: list[Any] = []
    iterators: list[Any] = []
    for name, source in run.sources.items():
        state, found = source.state(iterators=can)
        numbers = list(range(len(iterators), len(iterators) + len(found)))
        iterators += found
        states.append([name, source.description(), state, numbers if can else None])
    # Sources of a continued run that were not requested yet keep their saved state.
    for name, saved in run.saved_sources.items():
        states.append([name, saved.description, saved.state, None])
    return states, iterators
