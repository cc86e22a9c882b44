"""Entry point of the callback service."""

from carom_callback.app import serve
from carom_callback.settings import CallbackSettings
from carom_common.runtime import run_service
from carom_common.settings import load_settings


def main() -> None:
    settings = load_settings(CallbackSettings)
    run_service("callback", settings, lambda stop: serve(settings, stop))


if __name__ == "__main__":
    main()
