"""Entry point of the callback service."""

from carom_callback.app import serve
from carom_callback.settings import CallbackSettings
from carom_common import command


def main() -> None:
    command.main("callback", CallbackSettings, serve)


if __name__ == "__main__":
    main()
