"""Entry point of the executor."""

from carom_common import command
from carom_executor.app import serve
from carom_executor.settings import ExecutorSettings


def main() -> None:
    command.main("executor", ExecutorSettings, serve)


if __name__ == "__main__":
    main()
