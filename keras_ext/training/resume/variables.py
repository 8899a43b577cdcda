"""The variables of a run, and how saved ones are matched to them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.resume.replica_values import ReplicaValues

_HOLDERS = (
    keras.layers.Layer,
    keras.Metric,
    keras.optimizers.Optimizer,
    tf.Module,
)


@dataclass(frozen=True)
class RunVariable:
    """A variable of a run.

    Args:
        owner: What it belongs to: `"model"`, `"metrics"`, `"optimizer"`, `"step"` for
            variables known only to the compiled step, an attribute, or a name in
            `state`.
        variable: The variable itself.
    """

    owner: str
    variable: Any

    @property
    def description(self) -> tuple[str, str, list[int], str]:
        """Owner, name, shape and dtype."""
        # The path of a Keras variable includes its layer; TensorFlow's only have a
        # name.
        name = getattr(self.variable, "path", self.variable.name)
        dtype = tf.as_dtype(self.variable.dtype).name
        return self.owner, name, list(self.variable.shape), dtype


def run_variables(
    model: keras.Model, optimizer: Any, others: Mapping[str, Any]
) -> list[RunVariable]:
    """Return every variable that can be reached, each once.

    Those of the model, its metrics and random generators, of the optimizer, of
    attributes of the model (such as the second optimizer of a GAN), and of `others`.
    """
    found: list[RunVariable] = []
    seen: set[int] = set()

    def add(owner: str, variables: Sequence[Any]) -> None:
        for variable in variables:
            if id(variable) not in seen:
                seen.add(id(variable))
                found.append(RunVariable(owner, variable))

    metrics = model.metrics_variables
    # Metrics are kept apart: epochs begin without their values.
    of_metrics = {id(variable) for variable in metrics}
    add("model", [one for one in model.variables if id(one) not in of_metrics])
    add("metrics", metrics)
    add("optimizer", variables_of(optimizer))
    for name, attribute in vars(model).items():
        # Layers, and everything in them, are already the model's.
        if not isinstance(attribute, keras.layers.Layer):
            add(name.lstrip("_"), variables_of(attribute))
    for name, thing in others.items():
        add(name, variables_of(thing))
    return found


def variables_of(thing: Any) -> list[Any]:
    """Return the variables of an object, or of the objects in a list or dict.

    Returns nothing for an object without variables.
    """
    if isinstance(thing, (list, tuple)):
        return [variable for item in thing for variable in variables_of(item)]
    if isinstance(thing, Mapping):
        return variables_of(list(thing.values()))
    if isinstance(thing, keras.random.SeedGenerator):
        return [thing.state]
    if isinstance(thing, (keras.Variable, tf.Variable)):
        return [thing]
    if isinstance(thing, tf.random.Generator):
        return [thing.state]
    if isinstance(thing, _HOLDERS):
        return list(thing.variables)
    return []


class Restoration:
    """Restores the saved values of variables as soon as they exist.

    Variables are matched by their order within their owner: names may differ in a new
    process.

    Args:
        path: The checkpoint, for messages.
        descriptions: Descriptions of the saved variables.
        values: The values of the saved variables.
        replicas: Sets variables that replicas have parts of. Default: they are assigned
            as any other.
        parts: The saved parts of these, by number.
    """

    def __init__(
        self,
        path: str,
        descriptions: Sequence[Any],
        values: Sequence[Any],
        replicas: ReplicaValues | None = None,
        parts: Mapping[int, Any] | None = None,
    ) -> None:
        self.path = path
        self._replicas = replicas
        self._parts = parts or {}
        self._saved = list(zip(descriptions, values, strict=True))
        self._done: set[int] = set()
        self._before: list[tuple[Any, Any]] = []
        self._left: str | None = None

    def leave(self, numbers: Sequence[int], owner: str | None) -> None:
        """Leave these variables, and all of an owner, unchanged."""
        self._done.update(numbers)
        self._left = owner

    def compare(
        self, variables: Sequence[RunVariable]
    ) -> list[tuple[RunVariable, int]]:
        """Return the existing variables, each with the number of the saved one.

        Raises:
            ValueError: If they do not fit.
        """
        pairs: list[tuple[RunVariable, int]] = []
        for owner in self._owners(variables):
            now, saved = self._of(owner, variables)
            # If there are fewer, the first step creates the rest, and `finish` compares
            # them.
            if len(now) >= len(saved):
                self._check(now, saved)
                pairs += zip(now, saved, strict=True)
            elif owner == "optimizer":
                # It has its learning rate from the beginning, somewhere among them.
                pairs += self._matched(now, saved)
        return pairs

    def begin(self, variables: Sequence[RunVariable]) -> None:
        """Set those that already exist, before the first step has created the others.

        Raises:
            ValueError: If they do not fit. In that case, nothing was set.
        """
        self._assign(self.compare(variables))

    def finish(
        self, variables: Sequence[RunVariable], may_lack: str | None = None
    ) -> None:
        """Set all variables that `begin` has not set.

        Args:
            variables: All variables.
            may_lack: An owner whose variables may be missing.

        Raises:
            ValueError: If they do not fit. In that case, all have the values from
                before `begin` again.
        """
        pairs: list[tuple[RunVariable, int]] = []
        try:
            for owner in self._owners(variables):
                now, saved = self._of(owner, variables)
                if owner != may_lack:
                    self._check(now, saved)
                    pairs += zip(now, saved, strict=True)
        except ValueError:
            self.undo()
            raise
        self._assign(pairs)
        self._before.clear()

    def undo(self) -> None:
        """Reset all variables to their values before `begin`."""
        for variable, value in self._before:
            if self._replicas is not None and isinstance(value, list):
                self._replicas.set_local(variable, value)
            else:
                variable.assign(value)

    def _owners(self, variables: Sequence[RunVariable]) -> list[str]:
        names = [description[0] for description, _ in self._saved]
        names += [one.owner for one in variables]
        return [name for name in dict.fromkeys(names) if name != self._left]

    def _of(
        self, owner: str, variables: Sequence[RunVariable]
    ) -> tuple[list[RunVariable], list[int]]:
        """Return the variables of `owner`, and the numbers of the saved ones."""
        saved = [n for n, item in enumerate(self._saved) if item[0][0] == owner]
        return [one for one in variables if one.owner == owner], saved

    def _matched(
        self, now: Sequence[RunVariable], saved: Sequence[int]
    ) -> list[tuple[RunVariable, int]]:
        """Return each variable with the saved one of the same name."""
        known = {_comparable(self._saved[n][0]): n for n in saved}
        for one in now:
            if _comparable(one.description) not in known:
                # It raises, since the names differ, and says what was saved instead.
                self._check([one], saved[:1])
        return [(one, known[_comparable(one.description)]) for one in now]

    def missing(self, may_lack: str | None = None) -> str | None:
        """Return the first saved variable that was not set, ignoring `may_lack`."""
        for number, (description, _) in enumerate(self._saved):
            if number not in self._done and description[0] != may_lack:
                return _written(description)
        return None

    def _assign(self, pairs: Sequence[tuple[RunVariable, int]]) -> None:
        for one, number in pairs:
            # `finish` also receives those that `begin` has set.
            if number not in self._done:
                self._done.add(number)
                self._set(one.variable, number)

    def _set(self, variable: Any, number: int) -> None:
        """Set a variable to the saved one of this number."""
        value, replicas = self._saved[number][1], self._replicas
        before = None if replicas is None else replicas.local(variable)
        if replicas is None or before is None:
            # A tensor that was read keeps its value when the variable changes.
            self._before.append((variable, tf.convert_to_tensor(variable)))
            variable.assign(value)
        else:
            self._before.append((variable, before))
            replicas.assign(variable, value, self._parts.get(number))

    def _check(self, variables: Sequence[RunVariable], saved: Sequence[int]) -> None:
        now = [one.description for one in variables]
        problem = _difference(now, [self._saved[number][0] for number in saved])
        if problem:
            raise ValueError(
                f"The checkpoint {self.path!r} is that of another run: {problem}. "
                "Create model, optimizer and metrics as they were when it was saved, "
                "or choose another folder."
            )


def _difference(now: Sequence[Any], saved: Sequence[Any]) -> str | None:
    """Return the first variable in which two runs differ."""
    for here, there in zip(now, saved, strict=False):
        if _comparable(here) != _comparable(there):
            return (
                f"expected {_written(there)}, as it was saved. Received: "
                f"{_written(here)}"
            )
    if len(now) < len(saved):
        return f"it has {_written(saved[len(now)])}, which is missing now"
    if len(now) > len(saved):
        return f"it lacks {_written(now[len(saved)])}, which exists now"
    return None


def _comparable(description: Any) -> Any:
    """Return a description without the numbers by which Keras makes names unique."""
    owner, name, shape, dtype = description
    name = re.sub(r"_\d+(?=/|_|:|$)", "", name).lower()
    return owner, name, tuple(shape), dtype


def _written(description: Any) -> str:
    owner, name, shape, dtype = description
    return f"the {owner}'s variable {name!r} of shape {tuple(shape)} and type {dtype}"
