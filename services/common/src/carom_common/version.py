"""The version, in the forms that go out."""

from carom_common import __version__

USER_AGENT = f"carom/{__version__}"
