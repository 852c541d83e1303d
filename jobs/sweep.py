"""Runs a sweep as a Ray job; submitted again, it resumes.

ray job submit --working-dir . --entrypoint-num-cpus 1 -- python jobs/sweep.py SPEC [key=value ...]
"""

import signal
import sys

from collapse_ray.cli.main import main


def stop(number: int, frame: object) -> None:
    """`ray job stop` ends the job as Ctrl-C does: what is published stays, and the ledger is closed."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.argv = ["collapse", "sweep", "run.address=auto", *sys.argv[1:]]
    main()
