-- cancelled.lua: the marks of cancelled jobs. A part of every script that ends deliveries or moves them.
--
-- `cancelled` has the ids of cancelled jobs that run, or whose entry no worker has received yet, by
-- the time of the request (ms since 1970). The field `c` of the job's hash tells these two apart:
-- it is 'ended', or how many ms the outcome is kept when the run ends.
--
-- uses: job

-- As id_ms of settle.lua.
local CANCELLED_ID_MS = 60000

-- Forget a cancelled job that has no entry any more, when its id may be free again.
local function let_expire(prefix, id)
  redis.pcall('HDEL', prefix .. 'job:' .. id, 'e', 's')
  redis.call('PEXPIRE', prefix .. 'job:' .. id, CANCELLED_ID_MS)
end

-- Whether the queue has cancelled jobs to look for. Raises if another program has overwritten
-- `cancelled`, so ask before the first write.
local function are_any_cancelled(prefix)
  return redis.call('ZCARD', prefix .. 'cancelled') > 0
end

-- Return the field cancelled of a job, once and only for its own entry; else false.
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
