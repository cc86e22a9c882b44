"""Entry point of intake."""

from carom_common.runtime import run_service
from carom_common.settings import load_settings
from carom_intake.app import serve
from carom_intake.settings import IntakeSettings


def main() -> None:
    settings = load_settings(IntakeSettings)
    run_service("intake", settings, lambda stop: serve(settings, stop))


if __name__ == "__main__":
    main()
