"""Connections to Redis, over TLS where the URL is `rediss://`."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.maint_notifications import MaintNotificationsConfig

from carom_common.tls import TlsFiles, client_context, why

SOCKET_SECONDS = 5.0


def connection_pool(url: str, tls: TlsFiles) -> ConnectionPool:
    """A pool that tries each connect once, for 5 s at most."""
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),
        # Of managed services that move: connections break then, and are made anew, as with every failover.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    if issubclass(pool.connection_class, SSLConnection):
        pool.connection_class = _TlsConnection
        pool.connection_kwargs["tls"] = tls
    return pool


class _TlsConnection(SSLConnection):
    """With a context of ours for each connect: redis-py keeps its first one, and lets the URL switch checks off."""

    def __init__(self, *, tls: TlsFiles, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {"host": self.host, "port": self.port, "ssl": client_context(self._tls)}

    def _error_message(self, exception: BaseException) -> str:
        return f"{self.host}:{self.port}: {why(exception, 'STORE')}"

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """In TLS 1.3 a refused client learns it only now, when it reads for the first time."""
        try:
            await super().on_connect_check_health(check_health)
        except RedisConnectionError as error:
            raise RedisConnectionError(self._error_message(error)) from error
