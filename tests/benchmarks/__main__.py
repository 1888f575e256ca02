"""`python -m tests.benchmarks`: the table of docs/benchmarks.md; with `--all`, every benchmark (an hour) before it.

Further arguments go to pytest, as `-k refit`.
"""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Run the benchmarks and print their table; the exit code of pytest."""
    every = "--all" in arguments
    others = [argument for argument in arguments if argument != "--all"]
    return int(pytest.main(["-m", "benchmark", "-q", *(["-s"] if every else []),
                            str(HERE if every else HERE / "test_growth.py"), *others]))  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
