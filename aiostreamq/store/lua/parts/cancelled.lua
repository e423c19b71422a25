-- cancelled.lua: a part of every script that ends deliveries or moves them. It comes after job.lua.
--
-- A cancelled job whose entry no worker has met yet, or that runs, is among `cancelled`:
-- its id by when (ms since 1970) that was asked. Its hash says in `c` which of the two:
-- 'ended', or how many ms its outcome is to be kept when it ends.
--
-- uses: job

-- As settle.lua's id_ms.
local CANCELLED_ID_MS = 60000

-- There is no entry of the job any more: forget it when its id is free again.
local function let_expire(prefix, id)
  redis.pcall('HDEL', prefix .. 'job:' .. id, 'e', 's')
  redis.call('PEXPIRE', prefix .. 'job:' .. id, CANCELLED_ID_MS)
end

-- Whether any job may have to be met. Raises where that cannot be told: to be asked first.
local function are_any_cancelled(prefix)
  return redis.call('ZCARD', prefix .. 'cancelled') > 0
end

-- Returns the field cancelled of a job, once, and only for its own entry; else false.
local function meet_cancelled(prefix, id, stream, entry)
  if not redis.call('ZSCORE', prefix .. 'cancelled', id) then
    return false
  end
  local job = load_job(prefix .. 'job:' .. id)
  if not job.cancelled or job.entry ~= entry or prefix .. 'stream:' .. job.lane ~= stream then
    return false
  end
  redis.call('ZREM', prefix .. 'cancelled', id)
  return job.cancelled
end
