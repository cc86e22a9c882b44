"""The users of k8s/redis, as a Redis without an operator takes them."""

import re
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "k8s/redis/users.acl"


def users() -> list[str]:
    return re.findall(r"^user (\S+)", FILE.read_text(), re.MULTILINE)


def password(user: str) -> str:
    return f"password-of-{user}"


def url(store: str, user: str) -> str:
    """The store's URL for a user."""
    return store.replace("//", f"//{user}:{password(user)}@")


def aclfile() -> str:
    """Lines for `aclfile`: those users, and one who may do anything, for the tests to look with."""
    text = FILE.read_text()
    for user in users():
        text = text.replace(f"${{{user.removeprefix('carom-').upper()}_PASSWORD}}", password(user))
    return text + "user default on nopass ~* &* +@all\n"
