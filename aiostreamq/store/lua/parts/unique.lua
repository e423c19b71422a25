-- unique.lua: the keys of jobs, and the job that holds each. A part of every script that asks for one.
--
-- `unique` is a hash: the digest of a key -> the id of the job that holds the key. A holder that has
-- ended keeps no other job from its key, whether or not its field is still there. So no end has to
-- remove the field, and none that is forgotten, or is made by an older worker, leaves a key locked.
--
-- uses: job job_state

-- If the entry of a job is gone, because its stream was deleted or trimmed, a worker may still run
-- the job. The job is lost if no worker has reported it for this long, in ms.
local LONG_ENOUGH_MS = 60000

-- Whether the last beat of a worker reports that it runs a job.
local function is_reported(prefix, id)
  local workers = redis.pcall('HGETALL', prefix .. 'workers')
  local quoted = '"' .. string.gsub(id, '["\\]', '\\%0') .. '"' -- as JSON has it
  for at = 1, #workers, 2 do
    local report = redis.pcall('GET', prefix .. 'worker:' .. workers[at])
    if type(report) == 'string' and string.find(report, quoted, 1, true) then
      return true
    end
  end
  return false
end

-- Whether a job whose entry is gone may still run. The field g of its hash has since when no worker
-- reports it, in ms since 1970.
local function may_still_run(prefix, id, now)
  local job = prefix .. 'job:' .. id
  if is_reported(prefix, id) then
    redis.call('HDEL', job, 'g')
    return true
  end
  local since = tonumber(redis.call('HGET', job, 'g'))
  if not since or since > now then -- the clock of Redis may have been set back
    redis.call('HSET', job, 'g', string.format('%.0f', now))
    return true
  end
  return now < since + LONG_ENOUGH_MS
end

-- Whether a job still holds its key: it exists, has not ended, and is not lost.
local function holds_key(prefix, id, now)
  local job = load_job(prefix .. 'job:' .. id)
  local state = state_of(job)
  if state == nil or state == 'done' or state == 'cancelled'
    or redis.call('EXISTS', prefix .. 'result:' .. id) == 1 then
    return false
  elseif state == 'delayed' then
    return redis.call('ZSCORE', prefix .. 'delayed', id) ~= false
  elseif state == 'parked' then
    local entry, task = string.match(job.parked_at, '^(%S+) (.*)$')
    return #redis.pcall('XRANGE', prefix .. 'parked:' .. task, entry, entry) > 0
  end
  return #redis.pcall('XRANGE', prefix .. 'stream:' .. job.lane, job.entry, job.entry) > 0
    or may_still_run(prefix, id, now)
end

-- How many fields are looked at in one step. Another step follows if half of them are removed.
local FIELDS_AT_ONCE = 2

-- Remove some fields of holders that have ended. most: how many fields to look at.
local function sweep_keys(prefix, unique, now, most)
  local looked, removed = 0, 0
  repeat
    local found = redis.call('HRANDFIELD', unique, FIELDS_AT_ONCE, 'WITHVALUES') or {}
    removed = 0
    for at = 1, #found, 2 do
      if not holds_key(prefix, found[at + 1], now) then
        redis.call('HDEL', unique, found[at])
        removed = removed + 1
      end
    end
    looked = looked + FIELDS_AT_ONCE
  until removed * 2 < FIELDS_AT_ONCE or looked >= most
end
