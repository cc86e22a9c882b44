"""What can go wrong between Carom and its broker.

BrokerError
├── BrokerUnavailable   not connected or blocked: nothing was sent
├── PublishUnconfirmed  sent, but no confirm came: the message may or may not be there
└── Unroutable          the broker returned the message: no queue is bound for its key
"""


class BrokerError(Exception):
    """Any failure of the broker or of the way to it."""


class BrokerUnavailable(BrokerError):
    """Nothing was sent: there is no usable connection, or the broker blocks publishers (memory or disk alarm)."""


class PublishUnconfirmed(BrokerError):
    """The message was sent and its confirm never came: it may be in the queue or not."""


class Unroutable(BrokerError):
    """The broker returned a mandatory message because no queue takes its routing key."""
