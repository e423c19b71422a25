"""Looking all the time whether Redis tells how many jobs wait, as the lag of a group."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from redis.asyncio import Redis

from tests.chaos.invariants import streams
from tests.chaos.rhythm import pause

#: Seconds between two looks.
EVERY = 0.05

#: Gives the streams whose lag is wrong, or unknown for no reason. There is one in Redis 7.0: the
#: entry that was delivered last has gone before others. Redis before that tells nothing.
LAGS = """
local wrong = {}
for _, stream in ipairs(KEYS) do
  for _, told in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = {}
    for at = 1, #told, 2 do
      group[told[at]] = told[at + 1] or 'unknown'
    end
    local lag, last = group['lag'], group['last-delivered-id']
    local waiting = redis.call('XLEN', stream) - group['pending']
    local is_last_gone = #redis.call('XRANGE', stream, last, last) == 0
    if lag and lag ~= waiting and not (lag == 'unknown' and is_last_gone) then
      wrong[#wrong + 1] = string.format('%s: lag %s, and %d jobs wait', stream, lag, waiting)
    end
  end
end
return wrong
"""


@asynccontextmanager
async def watched_lags(client: Redis) -> AsyncGenerator[list[str]]:
    """Look again and again until the end of the block; gives what was wrong."""
    wrong: list[str] = []
    is_over = False

    async def watch() -> None:
        while not is_over:
            names = await streams(client)
            wrong.extend(cast("list[str]", await client.eval(LAGS, len(names), *names)))
            await pause(EVERY)

    watching = asyncio.ensure_future(watch())
    try:
        yield wrong
    finally:
        is_over = True
        await watching
