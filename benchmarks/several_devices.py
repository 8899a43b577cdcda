"""Speed of `Trainer.fit` on several devices and in several processes.

    python benchmarks/several_devices.py
    python benchmarks/several_devices.py --data mnist.npz --rounds 7

MNIST's multilayer perceptron, in milliseconds per step of 32 samples: one device, two
logical CPUs under `MirroredStrategy`, and two processes under
`MultiWorkerMirroredStrategy`, all on this machine; `Model.fit` where it can train
(under the last it raises). All take turns. On two cores, two replicas compute
no faster than one: the table shows what distribution itself costs.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

PROGRAM = "import sys; sys.path[:0] = {path!r}; import several_devices as b; b.worker()"
SECONDS = 300


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="file like mnist.npz (default: synthetic)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--steps", type=int, default=300, help="default: 300")
    return parser.parse_args()


def perceptron(data: str | None, steps: int) -> Any:
    """Return the workload."""
    import workloads

    return workloads.mnist_mlp(workloads.read_data(data or None)).first(steps)


def epoch(model: Any, workload: Any) -> Callable[[], float]:
    """Return a function that trains for an epoch and returns the accuracy."""

    def run() -> float:
        history = model.fit(
            workload.x, workload.y, workload.batch_size, epochs=1, verbose=0
        )
        return float(history.history["accuracy"][-1])

    return run


def worker() -> None:
    """Train an epoch in one of several workers whenever the next file is there."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    folder = pathlib.Path(os.environ["FOLDER"])
    workload = perceptron(os.environ["DATA"], int(os.environ["STEPS"]))
    with strategy.scope():
        trainer = workload.trainer()
    run, number = epoch(trainer, workload), 0
    while not (folder / "end").exists():
        if (folder / str(number)).exists():
            print(run(), flush=True)
            number += 1
        time.sleep(0.001)


class TwoWorkers:
    """Two processes that train an epoch when they are called.

    Args:
        data: The path of the data, or `None`.
        steps: Per epoch.
        folder: An empty folder.
    """

    def __init__(self, data: str | None, steps: int, folder: pathlib.Path) -> None:
        from tests.training.workers import Cluster

        self._folder, self._calls = folder, 0
        options = {"FOLDER": str(folder), "DATA": data or "", "STEPS": str(steps)}
        path = [str(pathlib.Path(__file__).parent)]
        self._cluster = Cluster(PROGRAM.format(path=path), environment=options)

    def __call__(self) -> float:
        """Train an epoch, and return the accuracy."""
        (self._folder / str(self._calls)).touch()
        self._calls += 1
        end = time.monotonic() + SECONDS
        while any(len(lines) < self._calls for lines in self._lines()):
            assert time.monotonic() < end, self._cluster.output(0, errors=True)
            time.sleep(0.001)
        return float(self._lines()[0][-1])

    def end(self) -> None:
        """End the processes."""
        (self._folder / "end").touch()
        self._cluster.wait(SECONDS)

    def _lines(self) -> list[list[str]]:
        return [self._cluster.output(index).splitlines() for index in range(2)]


def main() -> None:
    """Let all take turns, and print the table."""
    options = parse()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)

    import race
    import report

    workload = perceptron(options.data, options.steps)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        replicated = workload.trainer(), workload.model()
    two = TwoWorkers(options.data, options.steps, pathlib.Path(tempfile.mkdtemp()))
    contestants = {
        "one device: Model.fit": epoch(workload.model(), workload),
        "one device: Trainer.fit": epoch(workload.trainer(), workload),
        "one device: Trainer.fit, graph": epoch(
            workload.trainer(jit_compile=False), workload
        ),
        "two replicas: Model.fit": epoch(replicated[1], workload),
        "two replicas: Trainer.fit": epoch(replicated[0], workload),
        "two workers: Trainer.fit": two,
    }
    steps = options.steps
    entered = [race.Contestant(*each, steps) for each in contestants.items()]
    scores = race.race(entered, options.rounds)
    two.end()
    lines = [("contestant", "ms/step", "of one device: Model.fit", "accuracy")]
    stock = scores["one device: Model.fit"]
    for name, score in scores.items():
        row = race.Row("", "", score, stock, race.Goal(relative=True))
        cells = f"{score.median:.2f}", f"{row.ratio:.2f}", f"{score.accuracy:.3f}"
        lines.append((name, *cells))
    print(report.as_table(lines))
    replicas = scores["two replicas: Trainer.fit"], scores["two replicas: Model.fit"]
    row = race.Row("", "two replicas", *replicas, race.Goal(at_most=0.5))
    print(f"\n{report.in_short(row)}, at most 0.5: {'met' if row.is_met else 'MISSED'}")


if __name__ == "__main__":
    main()
