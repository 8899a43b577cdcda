"""The peak memory of a process that trains mnist-mlp for an epoch.

    python benchmarks/peak_memory.py Trainer.fit
    python benchmarks/peak_memory.py Model.fit --data mnist.npz

Prints megabytes. `fit_speed.py` runs this, once for each of the two.
"""

import argparse
import pathlib
import subprocess
import sys

import workloads

NAMES = ("Trainer.fit", "Model.fit")


def of_new_process(name: str, steps: int, path: str | None) -> float:
    """Return the peak MB of a new process that trains with `name`."""
    command = [sys.executable, __file__, name, "--steps", str(steps)]
    command += [] if path is None else ["--data", path]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(result.stdout.split()[-1])


def of_this_process() -> float:
    """Return the peak MB of this process so far."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # Not `getrusage`: on Linux it starts a child at its parent's peak.
        lines = status.read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: bytes


def main() -> None:
    """Train as given on the command line and print the peak."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--data", help="file like mnist.npz (default: synthetic)")
    parser.add_argument("--steps", type=int, default=1875, help="steps of the epoch")
    options = parser.parse_args()
    work = workloads.mnist_mlp(workloads.read_data(options.data)).first(options.steps)
    model = work.trainer() if options.name == NAMES[0] else work.model()
    model.fit(work.x, work.y, verbose=0)
    print(f"{of_this_process():.1f}")


if __name__ == "__main__":
    main()
