"""Entry point of intake."""

from carom_common import command
from carom_intake import make_key, make_signing_key
from carom_intake.app import serve
from carom_intake.fsck import command as fsck
from carom_intake.settings import IntakeSettings


def main() -> None:
    tools = {"make-key": make_key.main, "make-signing-key": make_signing_key.main, "fsck": fsck.main}
    command.main("intake", IntakeSettings, serve, tools)


if __name__ == "__main__":
    main()
