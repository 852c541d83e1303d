"""A store whose process dies, whose disk is full, or beside which something happens, at a chosen step."""

from collections.abc import Callable

from collapse_ray.artifact.store import Store


class Crash(Exception):
    """The process died here."""


def crash() -> None:
    raise Crash


class FragileStore(Store):
    """Something happens before or after it is listed, written to or removed from: each counts as two steps."""

    steps_left: int | None = None
    happens: Callable[[], None] = staticmethod(crash)

    def list_documents(self, folder: str) -> list[str]:
        self._step()
        found = super().list_documents(folder)
        self._step()
        return found

    def write_document(self, path: str, content: bytes, *, sync: bool = False) -> None:
        self._step()
        super().write_document(path, content, sync=sync)
        self._step()

    def delete_folder(self, folder: str) -> None:
        self._step()
        super().delete_folder(folder)
        self._step()

    def _step(self) -> None:
        if self.steps_left is None:
            return
        self.steps_left -= 1
        if self.steps_left < 0:
            self.steps_left = None
            self.happens()
