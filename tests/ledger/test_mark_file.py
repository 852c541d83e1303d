"""Marks outlive the meter that was told them."""

from pathlib import Path

from collapse_ray.energy.marks import Work
from collapse_ray.ledger.mark_file import MarkFile

TRAIN = Work("stage", "sweep", "a", 1, "train", artifact="f00d")
CLAIM = {"gpus": ["GPU-0"], "share": None, "cpus": 1.0}


def told(path: Path) -> MarkFile:
    """A meter was told of two pieces of work, one of which ended, and was killed."""
    marks = MarkFile(path)
    assert not marks.was_left
    marks.begin("t1", TRAIN, worker="7@1.00", time_s=1.5, **CLAIM)
    marks.begin("t2", TRAIN, worker="8@1.00", time_s=2.5, **CLAIM)
    marks.end("t1", 3.5)
    marks.seen(4.5)
    return MarkFile(path)


def test_the_next_meter_is_told_the_same(tmp_path: Path) -> None:
    marks = told(tmp_path / "node.marks")
    assert marks.was_left
    assert marks.found() == [
        ("begin", {"token": "t1", "work": TRAIN, "worker": "7@1.00", "time_s": 1.5, **CLAIM}),
        ("begin", {"token": "t2", "work": TRAIN, "worker": "8@1.00", "time_s": 2.5, **CLAIM}),
        ("end", {"token": "t1", "time_s": 3.5}),
    ]
    assert marks.open_workers() == {"t2": "8@1.00"}
    assert marks.last_s() == 4.5


def test_nothing_is_left_by_a_meter_that_ends_well(tmp_path: Path) -> None:
    told(tmp_path / "node.marks").remove()
    assert list(tmp_path.iterdir()) == []
    marks = MarkFile(tmp_path / "node.marks")
    assert not marks.was_left
    assert marks.found() == []
    assert marks.last_s() is None


def test_old_marks_are_forgotten_but_for_open_work(tmp_path: Path) -> None:
    path = tmp_path / "node.marks"
    marks = MarkFile(path, turn_s=0.0)
    marks.begin("t1", TRAIN, worker="7@1.00", time_s=1.0, **CLAIM)
    for time_s in range(2, 100):
        marks.begin("t2", TRAIN, worker="7@1.00", time_s=time_s, **CLAIM)
        marks.end("t2", time_s + 0.5)
    left = MarkFile(path)
    assert left.open_workers() == {"t1": "7@1.00"}
    assert left.last_s() == 99.5
    assert len(left.found()) < 10


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "node.marks"
    told(path)
    path.write_text(path.read_text() + '["end", {"token": "t2", "ti')
    assert MarkFile(path).open_workers() == {"t2": "8@1.00"}
