-- unique.lua: the keys of jobs, and the job that holds each. A part of every script that asks for one.
--
-- `unique` is a hash: the digest of a key -> the id of the job that holds the key. A holder that has
-- ended keeps no other job from its key, whether or not its field is still there. So no end has to
-- remove the field, and none that is forgotten, or is made by an older worker, leaves a key locked.
--
-- uses: group job job_state

-- If the entry of a job is gone, because its stream was deleted or trimmed, a worker may still run
-- the job. The job is lost if no worker has reported it for this long, in ms.
local LONG_ENOUGH_MS = 60000

-- How many jobs a report names at most of those that run, and of those that wait in the worker.
local MOST_RUNNING, MOST_HELD = 100, 500

-- Whether a report leaves out some of the jobs that its worker has: it may have any job.
local function is_incomplete(report)
  local running = tonumber(string.match(report, '"running":(%d+)')) or 0
  local held = tonumber(string.match(report, '"held":(%d+)')) or 0
  return running > MOST_RUNNING or held > MOST_HELD
    or running > 0 and string.find(report, '"jobs":[]', 1, true) ~= nil
end

-- Whether the last beat of a worker reports that it has a job, or may have it.
local function is_reported(prefix, id)
  local workers = redis.pcall('HGETALL', prefix .. 'workers')
  local quoted = '"' .. string.gsub(id, '["\\]', '\\%0') .. '"' -- as JSON has it
  for at = 1, #workers, 2 do
    local report = redis.pcall('GET', prefix .. 'worker:' .. workers[at])
    if type(report) == 'string'
      and (string.find(report, quoted, 1, true) or is_incomplete(report)) then
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

-- The group of all streams, as model/keys.py names it.
local OUR_GROUP = 'aiostreamq'

-- Facts about streams and entries. Many calls in a row may ask for the same ones.
local delivered_of, found_entries = {}, {}

local function has_entry(stream, entry)
  local place = stream .. ' ' .. entry
  if found_entries[place] == nil then
    found_entries[place] = #redis.pcall('XRANGE', stream, entry, entry) > 0
  end
  return found_entries[place]
end

-- Whether a job is in its lane, or with a worker. The entry itself is read only if no entry of the lane
-- has been delivered: then the stream may be another one than the job was put into.
local function is_in_lane(prefix, job)
  local stream = prefix .. 'stream:' .. job.lane
  if redis.pcall('XLEN', stream) == 0 or not string.find(job.entry, '^%d+%-%d+$') then
    return false
  end
  delivered_of[stream] = delivered_of[stream] or last_delivered(stream, OUR_GROUP)
  if delivered_of[stream] == '0-0' then
    return has_entry(stream, job.entry)
  elseif is_before(job.entry, delivered_of[stream]) then
    local pending = redis.pcall('XPENDING', stream, OUR_GROUP, job.entry, job.entry, 1)
    return not pending.err and #pending > 0
  end
  return true
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
  elseif state == 'held' then
    local place, name = string.match(job.place or '', '^(%d+) (.+)$')
    return place and redis.call('ZSCORE', prefix .. 'backlog:' .. name, id) ~= false
  elseif state == 'parked' then
    local entry, task = string.match(job.parked_at, '^(%S+) (.*)$')
    return has_entry(prefix .. 'parked:' .. task, entry)
  end
  return is_in_lane(prefix, job) or may_still_run(prefix, id, now)
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
