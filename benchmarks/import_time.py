"""What `import keras_ext` adds to `import keras`, in fresh processes.

python benchmarks/import_time.py
"""

import statistics
import subprocess
import sys

ROUNDS = 7
LIMIT = 0.1
CODE = """
import time
begin = time.perf_counter()
import keras
middle = time.perf_counter()
import keras_ext
print(middle - begin, time.perf_counter() - middle)
"""


def measure() -> tuple[float, float]:
    """Return the seconds of `import keras` and of `import keras_ext` after it."""
    output = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    ).stdout
    keras, keras_ext = map(float, output.split())
    return keras, keras_ext


def main() -> None:
    """Measure several times and print medians."""
    rounds = [measure() for _ in range(ROUNDS)]
    keras, added = (statistics.median(times) for times in zip(*rounds, strict=True))
    most = max(times[1] for times in rounds)
    print(f"import keras      {keras:.3f} s (median of {ROUNDS})")
    print(f"import keras_ext  {added:.3f} s more, at most {most:.3f} s")
    print(f"required: less than {LIMIT} s more")


if __name__ == "__main__":
    main()
