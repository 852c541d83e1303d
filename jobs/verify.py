"""Compares closed-form lineages with theory as a Ray job, on the node where it starts.

ray job submit --working-dir . --entrypoint-num-cpus 1 -- python jobs/verify.py [--oracle ID] [--replicas N] [--json]
"""

import sys

from collapse_ray.cli.main import main

if __name__ == "__main__":
    sys.argv = ["collapse", "verify", *sys.argv[1:]]
    main()
