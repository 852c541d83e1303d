"""What Ray Tune saved of a sweep, and whether it can be trusted."""

import json
import logging
import pickle
from fnmatch import fnmatch

from collapse_ray.artifact.store import Store

log = logging.getLogger(__name__)


def can_resume(store: Store, folder: str) -> bool:
    """Whether to go on from Tune's newest state: it is copied file by file, and may have been cut short anywhere.

    Lineages that failed for good have ended to Tune, and only a sweep that starts over on what is published tries them
    again.
    """
    paths = store.list_documents(folder)
    newest = [
        max((path for path in paths if fnmatch(path, f"{folder}/{pattern}")), default=None)
        for pattern in ("tuner.pkl", "experiment_state-*.json", "search_gen_state-*.json", "searcher-state-*.pkl")
    ]
    if None in newest:
        return False
    tuner, experiment, generator, searcher = (store.read_document(str(path)) or b"" for path in newest)
    try:
        json.loads(experiment)
        for pickled in (tuner, generator):
            pickle.loads(pickled)  # noqa: S301 - written by Tune in the sweep before
        return not has_failed(searcher)
    except (ValueError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, KeyError) as error:
        log.warning("what Ray Tune saved of the sweep cannot be used (%s); it starts over on what is published", error)
        return False


def has_failed(state: bytes) -> bool:
    """Whether a lineage had failed for good when the searcher saved this."""
    runs = pickle.loads(state)["director"]["runs"]  # noqa: S301 - written by `SweepSearcher.save`
    return any(run.event.state == "failed" for run in runs.values())
