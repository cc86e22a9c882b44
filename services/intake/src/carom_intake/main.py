"""Entry point of intake."""

from carom_common import command
from carom_intake import make_key
from carom_intake.app import serve
from carom_intake.settings import IntakeSettings


def main() -> None:
    command.main("intake", IntakeSettings, serve, {"make-key": make_key.main})


if __name__ == "__main__":
    main()
