"""`python -m collapse_ray.monitoring`, from the top of a checkout: makes dashboards, alert rules and tables anew."""

from pathlib import Path

from collapse_ray.monitoring.files import write

if __name__ == "__main__":
    write(Path.cwd())
