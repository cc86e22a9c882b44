"""A small AMQP 0-9-1 client for the hot path: confirmed publishes and batched acks without a task a message.

docs/adr/0005 says what was measured against FastStream and aiormq, which declare the topology and nothing else here.
"""
