-- debounce.lua: a delayed job that each further call of its key changes and moves, while it waits.
--
-- The field f of its hash is '<ms since 1970 of the first call> <ids of the last calls>'.
--
-- uses: delayed job job_state

-- How many calls a job remembers. A call that is repeated after a lost reply is among these, unless
-- many others came in between: then it counts as a new call.
local MOST_CALLS = 16

-- As many inboxes as a job notifies of its end: see subscribe.lua.
local MOST_INBOXES_BYTES = 2048

-- Whether a call has reached a job already.
local function has_call(job, id)
  local known = redis.pcall('HGET', job, 'f')
  return type(known) == 'string' and string.find(known .. ' ', ' ' .. id .. ' ', 1, true) ~= nil
end

-- Whether a job still waits for its first run, so that calls can change it.
local function can_be_moved(job)
  local known = load_job(job)
  return redis.call('HGET', job, 'f') and state_of(known) == 'delayed'
    and known.delivery == '1' and not known.attempt
end

-- Remember the first call of a job.
local function note_first_call(job, id, now)
  redis.call('HSET', job, 'f', string.format('%.0f ', now) .. id)
end

-- Give a job the envelope of a further call, and move it. call: its id, mark, inbox and envelope.
-- wait_ms: from this call; max_wait_ms: from the first, 0 for any time.
local function move(delayed, job, job_id, call, now, wait_ms, max_wait_ms)
  local first, ids = string.match(redis.call('HGET', job, 'f') or '', '^(%d+) (.*)$')
  first, ids = tonumber(first) or now, (ids or '') .. ' ' .. call.id
  local _, count = string.gsub(ids, '%S+', '')
  if count > MOST_CALLS then
    ids = string.gsub(ids, '^%s*%S+%s+', '')
  end
  redis.call('HSET', job, 'p', call.envelope, 'f', string.format('%.0f ', first) .. ids)
  if call.mark == '2' then
    redis.call('HSET', job, 'k', '0')
  else
    redis.call('HDEL', job, 'k')
  end
  local waiters = redis.call('HGET', job, 'w') or ''
  if call.mark == '1' and not string.find(' ' .. waiters .. ' ', ' ' .. call.inbox .. ' ', 1, true)
    and string.len(waiters) + string.len(call.inbox) < MOST_INBOXES_BYTES then
    redis.call('HSET', job, 'w', string.match(waiters .. ' ' .. call.inbox, '^%s*(.*)$'))
  end
  local due = now + wait_ms
  if max_wait_ms > 0 then
    due = math.min(due, math.max(now, first + max_wait_ms))
  end
  delay_until(delayed, due, job_id)
end
