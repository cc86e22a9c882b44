"""Entry point of the executor."""

from carom_common.runtime import run_service
from carom_common.settings import load_settings
from carom_executor.app import serve
from carom_executor.settings import ExecutorSettings


def main() -> None:
    settings = load_settings(ExecutorSettings)
    run_service("executor", settings, lambda stop: serve(settings, stop))


if __name__ == "__main__":
    main()
