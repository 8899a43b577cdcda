"""Whether a run that is repeatedly killed ends like one that is left alone.

    python benchmarks/kill_test.py
    python benchmarks/kill_test.py --kills 1000 --only xla
    python benchmarks/kill_test.py --kills 60 --workers 2

A program that trains is killed with SIGKILL at random times, half of them while a
checkpoint is being written, and restarted with another seed each time, until it ends.
Its weights, optimizer, random generators, History and log must equal those of a run
that was never killed, to the bit. The exit status is 1 if anything differs.

With `--workers 2`, two processes train together; one of them is killed with SIGKILL, or
ended with SIGTERM, and both are restarted.
"""

import argparse
import concurrent.futures
import pathlib
import random
import shutil
import sys
import tempfile

import report

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from tests.training import killed_workers, killing
from tests.training.killing import KINDS, Killed, Kind

HEADER = ("kind", "kills", "before", "in a write", "restarts", "runs", "bit-equal")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="in total; default: 100")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    parser.add_argument(
        "--workers", type=int, choices=(1, 2), default=1, help="default: 1"
    )
    parser.add_argument("--seed", type=int, help="of the moments; default: drawn")
    parser.add_argument("--keep", action="store_true", help="the folders of the runs")
    return parser.parse_args()


def job(
    kind: Kind, folder: pathlib.Path, draws: random.Random, kills: int
) -> tuple[Killed, list[str]]:
    """Return what was done to a kind, and what differs in the end."""
    try:
        reference = killing.train(kind, folder / "not killed")
        killed = killing.train_and_kill(kind, folder, draws, kills)
    except AssertionError as error:
        return Killed(), [str(error)]
    return killed, killed.differences(reference)


def kill_workers(kills: int, only: str, seed: int, folder: pathlib.Path) -> int:
    """Kill one of two workers in turn, print the results, return the exit status."""
    kinds = [
        (driver, data) for driver in ("fit", "Loop") for data in ("arrays", "dataset")
    ]
    kinds = [kind for kind in kinds if only in " ".join(kind)]
    lines, differs = [("kind", "kills", "bit-equal")], False
    for number, (driver, data) in enumerate(kinds):
        count = (kills + len(kinds) - 1 - number) // len(kinds)
        draws = random.Random(f"{seed} {driver} {data}")
        options = {"DRIVER": driver, "DATA": data, "SAVE_FREQ": "1", "SLEEP": "0.002"}
        # Long enough to be killed so often.
        options["EPOCHS"] = str(2 + count)
        own = folder / f"{driver} {data}"
        continued = killed_workers.killed_and_continued(
            own / "killed", killed_workers.random_kills(draws, count), **options
        )
        equal = continued == killed_workers.whole(own / "not killed", **options)
        differs |= not equal
        lines.append((f"{driver}, {data}", str(count), "yes" if equal else "NO"))
        print(*lines[-1], flush=True)
    print(f"\n{report.as_table(lines)}\n")
    return int(differs)


def cells(kind: Kind, killed: Killed, differ: list[str]) -> tuple[str, ...]:
    """Return one row of the table, in the order of `HEADER`."""
    counts = killed.kills, killed.early, killed.in_write, killed.restarts
    counts = *counts, len(killed.folders)
    return kind.name, *map(str, counts), "NO" if differ else "yes"


def main() -> int:
    """Kill all kinds in turn, print the results and return the exit status."""
    options = parse()
    kinds = [kind for kind in KINDS if options.only in kind.name]
    if not kinds and options.workers == 1:
        sys.exit(f"--only: none of {[kind.name for kind in KINDS]} has it")
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(10**6)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kill_test_"))
    print(f"--seed {seed}, in {folder}", flush=True)
    if options.workers > 1:
        return kill_workers(options.kills, options.only, seed, folder)
    lines, all_killed, differ_in_all = [HEADER], Killed(), []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = []
        for number, kind in enumerate(kinds):
            # Equally many for each, except for the remainder.
            kills = (options.kills + len(kinds) - 1 - number) // len(kinds)
            draws = random.Random(f"{seed} {kind.name}")
            jobs.append(pool.submit(job, kind, folder / kind.name, draws, kills))
        for kind, one in zip(kinds, jobs, strict=True):
            killed, differ = one.result()
            lines.append(cells(kind, killed, differ))
            print(f"{kind.name}: {' '.join(killed.story)}", flush=True)
            all_killed += killed
            differ_in_all += [f"DIFFERS: {kind.name}, {name}" for name in differ]
    lines.append(cells(Kind("all", ()), all_killed, differ_in_all))
    print(f"\n{report.as_table(lines)}\n")
    print("before: killed before the first checkpoint was whole, not among the kills")
    print("\n".join(differ_in_all))
    if not (options.keep or differ_in_all):
        shutil.rmtree(folder)
    return 1 if differ_in_all else 0


if __name__ == "__main__":
    sys.exit(main())
