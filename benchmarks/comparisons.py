"""The comparisons of `fit_speed.py`, and their requirements."""

import contextlib
import importlib.util
import math
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import foreign
import keras
import peak_memory
import report
import rivals
import tensorflow as tf
import workloads
from race import Contestant, Goal, Row, Score, race
from workloads import Data, Workload

import keras_ext

LONG = 1000  # steps of a training run that is worth compiling with XLA
OURS, KERAS = peak_memory.NAMES


@dataclass(frozen=True)
class Bench:
    """The options of the command line."""

    data: Data
    path: str | None
    out: pathlib.Path
    rounds: int
    quick: bool
    xla_convolutions: bool

    def pick(self, full: int, quick: int) -> int:
        """Return `full`, or `quick` with `--quick`."""
        return quick if self.quick else full

    @property
    def mnist(self) -> Workload:
        """mnist-mlp on all images; on fewer with `--quick`."""
        return workloads.mnist_mlp(self.data).first(self.pick(1875, 300))


class StopAfter(keras.callbacks.Callback):
    """Ends training after some epochs."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop if it is due."""
        self.model.stop_training = epoch + 1 >= self.epochs


def fit(
    name: str, model: keras.Model, workload: Workload, epochs: int = 1, data: Any = None
) -> Contestant:
    """Return a contestant that makes the first `epochs` epochs of a long training run.

    If these have fewer than `LONG` steps, more are announced but not made: short
    training runs are not measured, except by `first_epoch`.
    """
    planned = max(epochs, math.ceil(LONG / workload.steps))
    source = {"x": workload.x, "y": workload.y, "batch_size": workload.batch_size}
    if data is not None:
        source = {"x": data, "shuffle": False}  # the pipeline shuffles

    def run() -> float:
        history = model.fit(
            **source, epochs=planned, verbose=0, callbacks=[StopAfter(epochs)]
        )
        return history.history["accuracy"][-1]

    return Contestant(name, run, epochs * workload.steps)


def arrays(bench: Bench) -> Iterator[Row]:
    """Train mnist-mlp on arrays: `fit`, JAX, PyTorch, and many steps at a time."""
    work, epochs = bench.mnist, 5  # as Keras's own example
    grouped = {"steps_per_execution": 100, "jit_compile": False}
    contestants = [
        fit(OURS, work.trainer(), work, epochs),
        fit(KERAS, work.model(), work, epochs),
        fit("Model.fit, 100 steps", work.model(**grouped), work, epochs),
        chunk_loop(work, epochs),
    ]
    goals = {
        KERAS: Goal(at_least=10, aim=15),
        "Model.fit, 100 steps": Goal(at_least=4, aim=7),
        "JAX scan": Goal(at_most=1.3, aim=1),
        "PyTorch loop": Goal(),
    }
    with contextlib.ExitStack() as stack:
        for name, times, framework, *more in (
            ("JAX scan", epochs, "jax", "optax"),
            ("PyTorch loop", 1, "torch"),
        ):
            if is_installed(framework, *more):
                run = stack.enter_context(
                    foreign.process(framework, work.x, work.y, work.batch_size, times)
                )
                contestants.append(Contestant(name, run, times * work.steps))
        scores = race(contestants, bench.rounds)
    yield from compare("arrays", work, scores, OURS, goals)
    goals = {OURS: Goal(at_most=1.1, aim=1)}
    yield from compare("arrays", work, scores, "Loop, steps", goals)


def chunk_loop(work: Workload, epochs: int) -> Contestant:
    """Return a hand-written loop that makes many steps at a time, on tensors."""
    trainer = work.trainer()
    data = (tf.constant(work.x), tf.constant(work.y))

    def run() -> float:
        for epoch in keras_ext.Loop(trainer, epochs=epochs, verbose=0):
            for chunk in epoch.chunks(data, batch_size=work.batch_size):
                epoch.log(trainer.steps(chunk))
        return float(epoch.logs["accuracy"])

    steps = epochs * work.steps
    return Contestant("Loop, steps", run, steps, warm_ups=math.ceil(LONG / steps))


def dataset(bench: Bench) -> Iterator[Row]:
    """Train mnist-mlp on a `tf.data` pipeline."""
    work = bench.mnist
    data = rivals.shuffled_dataset(work)
    contestants = [
        fit(OURS, work.trainer(), work, 2, data),
        fit(KERAS, work.model(), work, 2, data),
    ]
    goals = {KERAS: Goal(at_least=4, aim=7)}
    work = replace(work, name=f"{work.name}, tf.data")
    yield from compare("dataset", work, race(contestants, bench.rounds), OURS, goals)


def cnn(bench: Bench) -> Iterator[Row]:
    """Train adv-cnn on arrays."""
    work = workloads.adv_cnn(bench.data).first(bench.pick(300, 50))
    contestants = [
        fit(OURS, work.trainer(), work, 2),
        fit(KERAS, work.model(), work, 2),
    ]
    goals = {KERAS: Goal(at_least=1.2, aim=1.5)}
    yield from compare("cnn", work, race(contestants, bench.rounds), OURS, goals)


def inference(bench: Bench) -> Iterator[Row]:
    """Evaluate and predict the test images with mnist-mlp."""
    work, data = bench.mnist, bench.data

    def evaluate(model: keras.Model) -> None:
        model.evaluate(data.x_test, data.y_test, verbose=0)

    def predict(model: keras.Model) -> None:
        model.predict(data.x_test, verbose=0)

    for call in (evaluate, predict):
        ours, reference = f"Trainer.{call.__name__}", f"Model.{call.__name__}"
        contestants = [
            repeated(ours, call, work.trainer(), bench),
            repeated(reference, call, work.model(), bench),
        ]
        goals = {reference: Goal(at_least=3, aim=8)}
        scores = race(contestants, bench.rounds)
        yield from compare("inference", work, scores, ours, goals)


def repeated(
    name: str, call: Callable[[Any], None], model: keras.Model, bench: Bench
) -> Contestant:
    """Return a contestant that calls a few times, after `LONG` steps of warmup."""
    steps, times = math.ceil(len(bench.data.x_test) / 32), bench.pick(4, 2)

    def run() -> None:
        for _ in range(times):
            call(model)

    warm_ups = math.ceil(LONG / (times * steps)) if "Trainer" in name else 1
    return Contestant(name, run, times * steps, warm_ups=warm_ups)


def loop(bench: Bench) -> Iterator[Row]:
    """Train mnist-mlp in loops written by hand, one step at a time."""
    work = bench.mnist
    trainer = work.trainer()

    def ours() -> float:
        for epoch in keras_ext.Loop(trainer, epochs=1, verbose=0):
            for batch in epoch.batches((work.x, work.y), work.batch_size):
                epoch.log(trainer.step(batch))
        return float(epoch.logs["accuracy"])

    few = bench.pick(200, 30)
    traced = rivals.tensorflow_loop(work, traced=True)
    eager = rivals.tensorflow_loop(work, traced=False, steps=few)
    contestants = [
        Contestant("Loop, step", ours, work.steps, warm_ups=1 + LONG // work.steps),
        Contestant("tf.function loop", traced, work.steps),
        Contestant("eager loop", eager, few),
    ]
    goals = {
        "tf.function loop": Goal(at_least=1.5, aim=2.5),
        "eager loop": Goal(at_least=15, aim=25),
    }
    scores = race(contestants, bench.rounds)
    yield from compare("loop", work, scores, "Loop, step", goals)


class FirstEpoch:
    """Makes one step with a model that has never run."""

    def __init__(self, make: Callable[[], keras.Model], work: Workload) -> None:
        self.make, self.work = make, work
        self.model: Any = None

    def prepare(self) -> None:
        """Make a new model."""
        self.model = self.make()

    def run(self) -> None:
        """Train it for one epoch, which traces the step."""
        self.model.fit(self.work.x, self.work.y, verbose=0)


def first_epoch(bench: Bench) -> Iterator[Row]:
    """Make the first step of a new mnist-mlp."""
    work = bench.mnist.first(1)
    firsts = {OURS: FirstEpoch(work.trainer, work), KERAS: FirstEpoch(work.model, work)}
    contestants = [
        # The warmup uses other models, for TensorFlow itself.
        Contestant(name, first.run, 1, first.prepare)
        for name, first in firsts.items()
    ]
    goals = {KERAS: Goal(at_most=1, aim=0.7)}
    scores = race(contestants, bench.rounds)
    work = replace(work, name=f"{work.name}, first step")
    yield from compare("first_epoch", work, scores, OURS, goals)


def memory(bench: Bench) -> Iterator[Row]:
    """Measure the memory of one epoch of mnist-mlp, in separate processes."""
    work = bench.mnist
    peaks: dict[str, list[float]] = {OURS: [], KERAS: []}
    for _ in range(bench.pick(bench.rounds, 1)):
        for name, values in peaks.items():
            values.append(peak_memory.of_new_process(name, work.steps, bench.path))
    scores = {name: Score(name, values) for name, values in peaks.items()}
    goals = {KERAS: Goal(at_most=1.1, aim=1)}
    work = replace(work, name=f"{work.name}, peak memory")
    yield from compare("memory", work, scores, OURS, goals, unit="MB")


def families(bench: Bench) -> Iterator[Row]:
    """Train networks of many kinds: is the Trainer's choice always faster?"""
    data = bench.data
    lines = [["family", "batch", KERAS, "graph", "XLA", "auto", "auto's ratio"]]
    # With enough steps to make the work of `fit` before the first one negligible.
    works = [
        (workloads.mnist_mlp(data), 1000),
        (workloads.embedding(data), 1000),
        (workloads.mnist_mlp(data, batch_size=256), 400),
        (workloads.wide_mlp(data), 100),
        (workloads.lstm(data), 400),
        (workloads.transformer(data), 400),
        (workloads.depthwise(data), 400),
        (workloads.adv_cnn(data), 200),
    ]
    for work, steps in works[: bench.pick(len(works), 2)]:
        work = work.first(min(work.steps, bench.pick(steps, 50)))
        scores = race(family(work, bench), bench.rounds)
        line = [work.name, str(work.batch_size)]
        work = replace(work, name=f"{work.name}, batch {work.batch_size}")
        (row,) = compare("families", work, scores, "auto", {KERAS: Goal(at_least=1)})
        yield row
        for name in lines[0][2:-1]:
            line.append(f"{scores[name].median:.3f}" if name in scores else "n/a")
        lines.append([*line, f"{row.ratio:.2f}"])
    print(f"\nms per step\n{report.as_table(lines)}", flush=True)
    report.write_csv(bench.out / "families.csv", lines)


def family(work: Workload, bench: Bench) -> list[Contestant]:
    """Return `Model.fit` and the three ways to compile a Trainer."""
    contestants = [
        fit("auto", work.trainer(), work),
        fit(KERAS, work.model(), work),
        fit("graph", work.trainer(jit_compile=False), work),
    ]
    if bench.xla_convolutions or not work.convolutional:
        contestants.append(fit("XLA", work.trainer(jit_compile=True), work))
    return list(filter(can_run, contestants))


def can_run(contestant: Contestant) -> bool:
    """Whether TensorFlow can run it at all; prints a line if not."""
    try:
        contestant.run()
    except tf.errors.OpError as error:
        print(f"{contestant.name} fails: {str(error)[:200]}", flush=True)
        return False
    return True


def linear(bench: Bench) -> Iterator[Row]:
    """Train a tiny network in epochs of many lengths: what does one step cost?"""
    lengths = [60, 600] if bench.quick else [60, 600, 6000, 60_000]
    contestants = []
    for steps in lengths:
        work = workloads.tiny_mlp(steps)
        epochs = max(1, 6000 // steps)
        contestants.append(fit(f"{steps} steps", work.trainer(), work, epochs))
    scores = race(contestants, bench.rounds)
    work = replace(work, name="tiny-mlp, epochs of")
    goals = {f"{lengths[0]} steps": Goal(relative=True)}
    for steps in lengths[1:]:
        yield from compare("linear", work, scores, f"{steps} steps", goals)


def compare(
    group: str,
    work: Workload,
    scores: dict[str, Score],
    ours: str,
    goals: dict[str, Goal],
    unit: str = "ms/step",
) -> list[Row]:
    """Return a row for each reference in `goals` that took part."""
    return [
        Row(group, work.name, scores[ours], scores[name], goal, unit)
        for name, goal in goals.items()
        if name in scores
    ]


def is_installed(*packages: str) -> bool:
    """Whether all packages are installed; prints a line if not."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{' and '.join(missing)} not installed: left out", flush=True)
    return not missing


GROUPS = {
    group.__name__: group
    for group in (
        arrays,
        dataset,
        cnn,
        inference,
        loop,
        first_epoch,
        memory,
        families,
        linear,
    )
}
