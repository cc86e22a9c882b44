"""A machine whose failures tell everything that was done before them."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from hypothesis.stateful import RuleBasedStateMachine
from tests.properties.example import Example


class Broken(BaseException):
    """A promise, by its cause. No Exception: hypothesis would do it all again, and what races is never the same."""


class Telling(RuleBasedStateMachine):
    """A machine with an example whose journal is told."""

    def __init__(self, example: Example) -> None:
        super().__init__()
        self.example = example
        self.failed = False


P = ParamSpec("P")
M = TypeVar("M", bound=Telling)


def told(step: Callable[Concatenate[M, P], None]) -> Callable[Concatenate[M, P], None]:
    """A step that is noted, and whose failure tells the journal and ends the run."""

    @functools.wraps(step)
    def wrapped(machine: M, /, *args: P.args, **options: P.kwargs) -> None:
        shown = {name: value for name, value in options.items() if name not in ("jobs", "spec")}  # noted with their ids
        machine.example.note(f"-- {step.__name__} {shown or ''}")
        try:
            step(machine, *args, **options)
        except Exception as error:
            machine.failed = True
            error.add_note("\n".join([f"run={machine.example.run}", *machine.example.journal]))
            raise Broken from error

    return wrapped
