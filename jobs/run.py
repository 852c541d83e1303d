"""Runs lineages as a Ray job; submitted again, it resumes. SIGTERM (`ray job stop`) ends it as Ctrl-C does.

ray job submit --working-dir . --entrypoint-num-cpus 1 -- python jobs/run.py SPEC [SPEC...] [key=value ...]
"""

import sys

from collapse_ray.cli.main import main

if __name__ == "__main__":
    sys.argv = ["collapse", "run", "run.address=auto", *sys.argv[1:]]
    main()
