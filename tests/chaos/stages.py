"""Stages one after the other: a scenario gets the one that is up, if it is of its kind."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.chaos.stage import Stage


class Stages:
    """`take()` starts a stage, or gives the one that runs; two at a time would share two cores."""

    def __init__(self, directory: Callable[[], Path]) -> None:
        self._directory = directory
        self._up: Stage | None = None

    def take(self, kind: type[Stage]) -> Stage:
        if type(self._up) is not kind:
            self.drop()
            self._up = kind(self._directory()).__enter__()
        assert self._up is not None
        return self._up

    def drop(self) -> None:
        """Stop what runs; the next one begins anew."""
        stage, self._up = self._up, None
        if stage is not None:
            stage.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.drop()
