"""Where rank 0 posts what the driver shows: a small actor, because workers and driver share no terminal."""

from typing import Any

import ray


@ray.remote(num_cpus=0)
class Board:
    """Keeps posts until the driver drains them."""

    def __init__(self) -> None:
        self._posts: list[Any] = []

    def post(self, value: Any) -> None:
        self._posts.append(value)

    def drain(self) -> list[Any]:
        posts, self._posts = self._posts, []
        return posts
