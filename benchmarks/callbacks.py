"""What a user's callbacks, generators and weights cost the speed of `Trainer.fit`.

    python benchmarks/callbacks.py --data mnist.npz
    python benchmarks/callbacks.py --only generator PyDataset
    python benchmarks/callbacks.py --quick

The beginner's network on MNIST, one epoch per round. The contestants take turns.
Callbacks that log batches are replayed by `Trainer.fit`; the time that they take
themselves is subtracted and shown. MLflow, Weights & Biases, tqdm and PyTorch's
`DataLoader` take part if they are installed. `--quick` only shows that it works.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

import keras
import numpy as np
import report
import tensorflow as tf
import workloads
from race import Goal, Row, Score

HOOKS = ("on_train_batch_begin", "on_train_batch_end")
AS_PLAIN = Goal(at_least=0.7, aim=0.9)
AS_PLAIN_IN_STEP = Goal(at_least=0.9, aim=1.0)


@dataclass
class Case:
    """Something to train with.

    Args:
        name: Its name in the table.
        data: Returns the arguments of `fit` for one epoch.
        callback: Makes a callback, if there is one.
        against_plain: The goal for its speed, by that of arrays without a callback.
        against_keras: The goal for its speed, by that of `Model.fit` with the same.
    """

    name: str
    data: Callable[[], dict[str, Any]]
    callback: Callable[[], keras.callbacks.Callback] | None = None
    against_plain: Goal | None = None
    against_keras: Goal | None = None


def cases(load: workloads.Workload) -> list[Case]:
    """Return what can be measured with the packages that are installed."""
    x, y, size = load.x, load.y, load.batch_size

    def arrays() -> dict[str, Any]:
        return {"x": x, "y": y, "batch_size": size}

    def batches() -> Iterator[Any]:
        for at in range(0, len(x), size):
            yield x[at : at + size], y[at : at + size]

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return -(-len(x) // size)

        def __getitem__(self, number: int) -> Any:
            rows = slice(number * size, (number + 1) * size)
            return x[rows], y[rows]

    def dataset(weighted: bool = False) -> dict[str, Any]:
        images = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(1024)
        scaled = images.map(lambda image, label: (image * 1.0, label))
        options = {"class_weight": WEIGHTS} if weighted else {}
        return {"x": scaled.batch(size), **options}

    by_batch = {"against_plain": AS_PLAIN, "against_keras": Goal(at_least=4, aim=8)}
    of_python = {"against_keras": Goal(at_least=3, aim=6)}
    found = [
        Case("LambdaCallback", arrays, _lambda, **by_batch),
        Case(
            "TerminateOnNaN", arrays, keras.callbacks.TerminateOnNaN, AS_PLAIN_IN_STEP
        ),
        Case("generator", lambda: {"x": batches()}, **of_python),
        Case("PyDataset", lambda: {"x": Batches(workers=2)}, **of_python),
        Case("tf.data", dataset, against_keras=Goal(at_least=5, aim=8)),
        Case(
            "class_weight",
            lambda: {**arrays(), "class_weight": WEIGHTS},
            against_plain=AS_PLAIN_IN_STEP,
        ),
        Case("class_weight on tf.data", lambda: dataset(weighted=True)),
    ]
    optional = {"mlflow": _mlflow, "wandb": _wandb, "tqdm": _tqdm}
    for package, make in optional.items():
        if importlib.util.find_spec(package) is not None:
            found.append(Case(package, arrays, make, **by_batch))
    if importlib.util.find_spec("torch") is not None:
        found.append(
            Case("DataLoader", lambda: {"x": _loader(x, y, size)}, **of_python)
        )
    return found


WEIGHTS = {label: 1.0 + label / 10 for label in range(10)}


def _lambda() -> keras.callbacks.Callback:
    losses: list[float] = []
    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(logs["loss"])
    )


def _mlflow() -> keras.callbacks.Callback:
    import mlflow
    from mlflow.keras.callback import MlflowCallback

    # It logs the optimizer, which a run has only one of.
    mlflow.end_run()
    mlflow.start_run()
    return MlflowCallback(log_every_epoch=False, log_every_n_steps=100)


def _wandb() -> keras.callbacks.Callback:
    from wandb.integration.keras import WandbMetricsLogger

    return WandbMetricsLogger(log_freq=10)


def _tqdm() -> keras.callbacks.Callback:
    from tqdm.keras import TqdmCallback

    return TqdmCallback(file=io.StringIO())


def _loader(x: np.ndarray, y: np.ndarray, size: int) -> Any:
    import torch

    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return torch.utils.data.DataLoader(data, batch_size=size)


@contextlib.contextmanager
def trackers(folder: str) -> Iterator[None]:
    """Give MLflow and Weights & Biases a run to log to, where they are installed."""
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("mlflow") is not None:
            import mlflow

            mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
            stack.callback(os.chdir, os.getcwd())
            os.chdir(folder)  # where MLflow puts its artifacts
            stack.callback(mlflow.end_run)
        if importlib.util.find_spec("wandb") is not None:
            import wandb

            stack.callback(wandb.init(project="benchmark", dir=folder).finish)
        yield


class Own:
    """Measures the time that the hooks for batches of a callback take themselves."""

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self.seconds = 0.0
        # Hooks on the instance make it another than the known one.
        callback.batch_hook_freq = "replay"
        for hook in HOOKS:
            setattr(callback, hook, self._timed(getattr(callback, hook)))

    def _timed(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return hook(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - begin

        return timed


def measure(model: Any, case: Case, steps: int) -> tuple[float, float]:
    """Train for one epoch; return ms per step without the callback, and its own."""
    callbacks, own = [], None
    if case.callback is not None:
        callbacks = [case.callback()]
        own = Own(callbacks[0])
    data = case.data()
    begin = time.perf_counter()
    model.fit(**data, verbose=0, callbacks=callbacks)
    seconds = time.perf_counter() - begin
    of_callback = own.seconds if own else 0.0
    return 1e3 * (seconds - of_callback) / steps, 1e3 * of_callback / steps


def run(load: workloads.Workload, case: Case, rounds: int) -> tuple[list[Row], float]:
    """Return the rows of a case, and the callback's own time in ms per step."""
    plain = Case("arrays, no callback", lambda: {**case.data()})
    if case.callback is None:
        plain = Case(
            "", lambda: {"x": load.x, "y": load.y, "batch_size": load.batch_size}
        )
    if case.name == "class_weight on tf.data":
        tf_data = next(one for one in cases(load) if one.name == "tf.data")
        plain, case.against_plain = tf_data, AS_PLAIN_IN_STEP
    contestants = {
        "ours": (load.trainer(), case),
        "plain": (load.trainer(), plain),
        "keras": (load.model(), case),
    }
    values: dict[str, list[float]] = {name: [] for name in contestants}
    own: list[float] = []
    for number in range(rounds + 1):
        order = list(contestants) if number % 2 else list(contestants)[::-1]
        for name in order:
            took, of_callback = measure(*contestants[name], load.steps)
            if number:  # the first round traces
                values[name].append(took)
                own += [of_callback] if name == "ours" else []
    ours = Score("Trainer.fit", values["ours"])
    rows = [
        Row("callbacks", case.name, ours, Score(reference, values[key]), goal)
        for key, reference, goal in (
            ("plain", "Trainer.fit without", case.against_plain),
            ("keras", "Model.fit", case.against_keras),
        )
        if goal is not None
    ]
    return rows, statistics.median(own)


def main() -> None:
    """Run the requested cases, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="file like mnist.npz (default: synthetic)")
    parser.add_argument("--quick", action="store_true", help="small, for a smoke test")
    parser.add_argument("--rounds", type=int, help="default: 5, with --quick 1")
    parser.add_argument("--only", nargs="+", help="names of cases")
    parser.add_argument("--out", type=pathlib.Path, default="runs/callbacks")
    options = parser.parse_args()
    load = workloads.mnist_mlp(workloads.read_data(options.data))
    if options.quick:
        load = load.first(40)
    rounds = options.rounds or (1 if options.quick else 5)
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, trackers(folder):
        for case in cases(load):
            if options.only and case.name not in options.only:
                continue
            found, own = run(load, case, rounds)
            rows += found
            for row in found:
                print(
                    f"{report.in_short(row)}; the callback itself: {own:.3f} ms/step",
                    flush=True,
                )
    lines = [report.HEADER, *map(report.cells, rows)]
    print(f"\n{report.as_table(report.for_screen(lines))}\n")
    report.write_csv(options.out / "callbacks.csv", lines)
    print(f"Written to {options.out}")


if __name__ == "__main__":
    main()
