-- delayed.lua: delayed jobs. A part of every script that keeps jobs until they are due, or takes
-- those that are.
--
-- uses: control

local earliest = math.huge -- when the first of the jobs that this script keeps is due

-- Return when the first delayed job is due, in ms since 1970. Raises if another program has
-- overwritten `delayed`, so ask before the first write.
local function first_due(delayed)
  return tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) or math.huge
end

-- Keep a new job. mark: 1 if inbox waits for its end, 2 if its result is not kept.
local function delay_new(delayed, due, lane, job, id, mark, inbox, envelope)
  redis.call('HSET', job, 'p', envelope, 'n', '1', 's', lane)
  if mark == '1' then
    redis.call('HSET', job, 'w', inbox)
  elseif mark == '2' then
    redis.call('HSET', job, 'k', '0')
  end
  redis.call('ZADD', delayed, due, id)
  earliest = due < earliest and due or earliest
end

-- Have a job that is kept wait until another time.
local function delay_until(delayed, due, id)
  redis.call('ZADD', delayed, due, id)
  earliest = due < earliest and due or earliest
end

-- Keep a job until its next attempt. When it is due it goes to the returned work, as it has waited
-- in its lane before.
local function delay_again(delayed, due, job, id, n, attempt, envelope)
  -- First, as this needs no memory: a script that has written is not stopped when memory is full.
  redis.call('HDEL', job, 'e')
  redis.call('HSET', job, 'p', envelope, 'n', n, 'a', attempt, 's', 'returned')
  redis.call('ZADD', delayed, due, id)
  earliest = due < earliest and due or earliest
end

-- Return what is kept of a job: lane, envelope, n, attempt, history, and the field y of part
-- `keep_latest`; false or nil if missing. Costs half of load_job.
local function kept_of(job)
  return unpack(redis.pcall('HMGET', job, 's', 'p', 'n', 'a', 'h', 'y'))
end

-- Wake the workers if a job that this script keeps is due before all others. first: the earlier
-- answer of first_due.
local function wake_if_earlier(control, first)
  if earliest < first then
    hint_to_workers(control, 'wake')
  end
end
