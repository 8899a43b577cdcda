"""Speed and memory of `Trainer.fit`, compared with `Model.fit`, JAX, PyTorch and loops.

    python benchmarks/fit_speed.py
    python benchmarks/fit_speed.py --data mnist.npz --only arrays dataset
    python benchmarks/fit_speed.py --quick

All contestants of a group take turns; each runs once before it is timed. They run in
this one process, except JAX and PyTorch, which take part if they are installed, each in
its own. A ratio is the median of the rounds' ratios, printed as it is measured. The
table is written into the output folder as CSV and as a picture (with matplotlib).
`--quick` only shows that everything works: its epochs are too short, and its rounds too
few, for meaningful ratios.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Leave memory of a GPU to the processes of other frameworks.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import report
import tensorflow as tf
import workloads
from comparisons import GROUPS, Bench
from race import Row


def machine() -> str:
    """Return a description of the machine and the versions."""
    versions = [
        f"{name} {importlib.metadata.version(name)}"
        for name in ("keras", "tensorflow", "jax", "torch")
        if importlib.util.find_spec(name) is not None
    ]
    gpus = len(tf.config.list_physical_devices("GPU"))
    return (
        f"{os.cpu_count()} CPUs, {gpus or 'no'} GPU, {platform.machine()}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def busy() -> str:
    """Return how busy the machine is with other work, if known."""
    if not hasattr(os, "getloadavg"):
        return ""
    return f"\nload average {os.getloadavg()[0]:.1f}: what else runs spoils the ratios"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="file like mnist.npz (default: synthetic)")
    parser.add_argument("--quick", action="store_true", help="small, for a smoke test")
    parser.add_argument("--rounds", type=int, help="default: 5, with --quick 2")
    parser.add_argument("--out", type=pathlib.Path, default="runs/fit_speed")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument(
        "--xla-convolutions",
        action="store_true",
        help="compile convolutional families with XLA too, which can take minutes",
    )
    return parser.parse_args()


def main() -> None:
    """Run the requested groups, print and write the results."""
    options = parse()
    print(f"{machine()}{busy()}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        workloads.read_data(options.data),
        options.data,
        options.out,
        options.rounds or (2 if options.quick else 5),
        options.quick,
        options.xla_convolutions,
    )
    rows = []
    for name in options.only:
        print(f"{name} ...", flush=True)
        begin = time.perf_counter()
        for row in GROUPS[name](bench):
            print(f"  {report.in_short(row)}", flush=True)
            rows.append(row)
        print(f"  {time.perf_counter() - begin:.0f} s", flush=True)
    publish(rows, options.out)


def publish(rows: list[Row], out: pathlib.Path) -> None:
    """Print the table and missed goals, and write the files."""
    lines = [report.HEADER, *map(report.cells, rows)]
    print(f"\n{report.as_table(report.for_screen(lines))}\n")
    for row in rows:
        if row.is_met is False:
            print(f"MISSED: {row.workload}: {row.ours.name} vs {row.reference.name}")
    report.write_csv(out / "fit_speed.csv", lines)
    if not report.draw(out / "fit_speed.png", rows, machine()):
        print("matplotlib not installed: no picture")
    print(f"Written to {out}")


if __name__ == "__main__":
    main()
