"""The broker users and policies of k8s/rabbitmq, as a broker without the operators takes them."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from devstack.servers import RabbitMQ

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "k8s/rabbitmq"


class Rights(NamedTuple):
    """Regular expressions over the names of exchanges and queues."""

    configure: str
    write: str
    read: str


def objects(*kinds: str) -> list[dict[str, Any]]:
    """The specs of all objects of these kinds, in the order of the files."""
    documents = [d for path in sorted(FOLDER.glob("*.yaml")) for d in yaml.safe_load_all(path.read_text())]
    return [document["spec"] for document in documents if document.get("kind") in kinds]


def rights() -> dict[str, Rights]:
    """By user; a user is called as its Secret and its object are."""
    return {spec["userReference"]["name"]: Rights(**spec["permissions"]) for spec in objects("Permission")}


def password(user: str) -> str:
    return f"password-of-{user}"


def declare_users(rabbitmq: RabbitMQ, directory: Path) -> None:
    """Make the users, and the virtual host with its policies, where they are not there yet."""
    file = directory / "definitions.json"
    file.write_text(definitions())
    rabbitmq.ctl("import_definitions", str(file))


def definitions() -> str:
    """Virtual host, users, permissions and policies for `rabbitmqctl import_definitions`."""
    users = [
        {
            "name": user,
            "password_hash": _hash(password(user)),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": [],
        }
        for user in rights()
    ]
    permissions = [
        {"user": spec["userReference"]["name"], "vhost": spec["vhost"], **spec["permissions"]}
        for spec in objects("Permission")
    ]
    policies = [
        {
            "name": spec["name"],
            "vhost": spec["vhost"],
            "pattern": spec["pattern"],
            "apply-to": spec["applyTo"],
            "definition": spec["definition"],
            "priority": spec.get("priority", 0),
        }
        for spec in objects("Policy")
    ]
    vhosts = [{"name": spec["name"]} for spec in objects("Vhost")]
    return json.dumps({"vhosts": vhosts, "users": users, "permissions": permissions, "policies": policies})


def _hash(text: str) -> str:
    """As the broker stores passwords: a salt of four bytes before the digest."""
    salt = b"salt"
    return base64.b64encode(salt + hashlib.sha256(salt + text.encode()).digest()).decode()
