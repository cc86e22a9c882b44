"""`carom-intake fsck`: compares RabbitMQ and Redis, and mends what one lost of the other (docs/operations/fsck.md)."""
