"""How many lineages run at once, on clusters that are only told of."""

from collections.abc import Callable

import pytest
import ray

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.capacity import Capacity, nodes_at
from collapse_ray.train.execution import RunConfig

Nodes = list[dict[str, float]]


@pytest.fixture
def cluster_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Nodes], None]:
    """Makes Ray tell of a cluster, and of a node that is gone."""

    def tell(nodes: Nodes) -> None:
        alive = [{"Alive": True, "Resources": node} for node in nodes]
        monkeypatch.setattr(ray, "nodes", lambda: [*alive, {"Alive": False, "Resources": {"CPU": 1000.0}}])
        totals = {kind: sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
        monkeypatch.setattr(ray, "cluster_resources", lambda: totals)

    return tell


@pytest.mark.parametrize(
    ("nodes", "run", "data_cpus", "limit", "expected"),
    [
        ([{"CPU": 8}], {}, 0, None, 8),
        ([{"CPU": 8}], {}, 1, None, 7),  # one is kept for Ray Data's read tasks, which would wait for ever
        ([{"CPU": 8}], {}, 1, 3, 3),
        ([{"CPU": 8}], {"cpus_per_worker": 0.5}, 1, None, 14),
        ([{"CPU": 8}], {"workers": 2, "cpus_per_worker": 1}, 1, None, 3),
        ([{"CPU": 4}, {"CPU": 4}], {"workers": 2, "cpus_per_worker": 3}, 1, None, 1),  # one worker on each node
        ([{"CPU": 64, "GPU": 4}], {"workers": 2, "gpus_per_worker": 1}, 1, None, 2),
        ([{"CPU": 64, "GPU": 1}], {"gpus_per_worker": 0.1}, 1, None, 10),  # 1 / 0.1 is 10 but for rounding
        ([{"CPU": 64, "GPU": 3}], {"gpus_per_worker": 0.3}, 1, None, 9),  # three on each GPU
        ([{"CPU": 8, "GPU": 2}, {"CPU": 64}], {"gpus_per_worker": 1}, 1, None, 2),
    ],
)
def test_as_many_as_the_nodes_hold(
    nodes: Nodes,
    run: dict[str, float],
    data_cpus: int,
    limit: int | None,
    expected: int,
    cluster_of: Callable[[Nodes], None],
) -> None:
    cluster_of(nodes)
    capacity = Capacity(RunConfig.model_validate(run), data_cpus, limit)
    capacity.check()
    assert capacity() == expected


@pytest.mark.parametrize(
    ("nodes", "run", "message"),
    [
        ([{"CPU": 1}], {}, "the cluster has 1; lower run.workers or run.cpus_per_worker or run.data_cpus"),
        ([{"CPU": 8}], {"gpus_per_worker": 1}, "ask for 1 GPU and the cluster has 0"),
        ([{"CPU": 8, "GPU": 2}], {"workers": 3, "gpus_per_worker": 1}, "ask for 3 GPUs and the cluster has 2"),
        ([{"CPU": 4}, {"CPU": 4}], {"cpus_per_worker": 6}, "no lineage fits on the cluster's nodes"),
    ],
)
def test_a_cluster_that_holds_no_lineage_is_refused(
    nodes: Nodes, run: dict[str, float], message: str, cluster_of: Callable[[Nodes], None]
) -> None:
    cluster_of(nodes)
    with pytest.raises(InvalidInput, match=message):
        Capacity(RunConfig.model_validate(run), 1, None).check()


def test_more_cpus_than_this_machine_has_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"ask for 4096 CPUs and this machine has \d+; lower .*run.cpus_per_worker"):
        Capacity(RunConfig(cpus_per_worker=4096), 0, None).check_machine()


def test_the_nodes_of_a_cluster_that_runs(cluster_of: Callable[[Nodes], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is left as it was found."""
    connected: list[str | None] = []
    monkeypatch.setattr(ray, "init", lambda address, **_: connected.append(address))
    monkeypatch.setattr(ray, "shutdown", lambda: connected.append(None))
    cluster_of([{"CPU": 8}, {"CPU": 64, "GPU": 4}])
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert nodes_at("auto") == [{"CPU": 8}, {"CPU": 64, "GPU": 4}]
    assert connected == ["auto", None]
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    assert len(nodes_at("auto")) == 2
    assert len(connected) == 2


def test_an_address_where_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(InvalidInput, match=r"cannot connect to the Ray cluster at run.address=auto: nobody there"):
        nodes_at("auto")
