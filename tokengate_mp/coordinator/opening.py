"""Opening an engine over core processes of this machine, for a coordinator or an executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.cores.initializer_file import InitializerFile
from tokengate_mp.cores.supervisor import Supervisor
from tokengate_mp.engine.engine import Engine
from tokengate_mp.loops.host import Host
from tokengate_mp.loops.notebook import context_of_no_cell


class OpenEngine(NamedTuple):
    """An engine that was opened, with what has to be ended after it.

    Attributes:
        engine: The engine.
        host: Its loop and thread.
        initializer: The file of its core processes' initializer.
    """

    engine: Engine
    host: Host
    initializer: InitializerFile


def open_engine(
    settings: CoordinatorSettings,
    initializer: bytes,
    find_host: Callable[[], Host],
    *,
    public: bool,
) -> OpenEngine:
    """Open an engine; nothing is left if that fails, or is interrupted.

    Args:
        settings: As for a coordinator.
        initializer: The packed initializer (see `wire.protocol.initializer`); empty for none.
        find_host: Gives the engine's loop.
        public: As for `Engine`.

    Raises:
        CoreStartError: The first core process cannot be started.
    """
    file, host = InitializerFile(initializer), None
    try:
        host = find_host()
        settings = msgspec.structs.replace(settings, initializer=file.fd, inherited=file.inherited)
        engine = Engine(settings, host, Supervisor(settings, host.loop), public=public)
        context = context_of_no_cell()
        host.call(lambda: context.run(engine.open))
    except BaseException:
        file.close()
        if host is not None:
            host.end_loop()
        raise
    return OpenEngine(engine, host, file)
