-- ending.lua: the end of a job that has not run. A part of every script that can end one.
--
-- The script calls count_noted_ends after everything else.
--
-- uses: cancelled order stats

-- As inbox_ms of settle.lua.
local CANCELLED_INBOX_MS = 60000

-- Send the outcome of a job to the inboxes that wait for it.
local function notify(prefix, waiters, id, outcome, inbox_ms)
  for inbox in string.gmatch(waiters or '', '%S+') do
    local key = prefix .. 'inbox:' .. inbox
    redis.pcall('RPUSH', key, id .. ' ' .. outcome)
    redis.call('PEXPIRE', key, inbox_ms)
  end
end

-- End a job as dead, and forget it.
local function end_as_dead(prefix, id, envelope, outcome, keep_ms, inbox_ms)
  local job = prefix .. 'job:' .. id
  redis.call('SET', prefix .. 'result:' .. id, outcome, 'PX', keep_ms)
  local known = redis.call('HMGET', job, 'w', 'b')
  notify(prefix, known[1], id, outcome, inbox_ms)
  redis.call('DEL', job)
  leave_its_order(prefix, known[2], id)
  note_end(id, task_in(envelope), 'dead')
end

-- Outcomes by task, and texts of how many ms they are kept: making these costs as much as a command.
local cancelled_outcomes, texts = {}, {}

local has_forgotten = false -- whether this script has removed fields of a cancelled job

-- Return the outcome of a job; nil if it has none.
local function outcome_of(prefix, id)
  local found = redis.pcall('GET', prefix .. 'result:' .. id)
  return type(found) == 'string' and found or nil
end

-- End a job as cancelled. Its hash stays, as its id stays taken. known: optional, with the waiters
-- and the place of the job, and whether its hash is_bare: without any of the fields that are removed here. Return
-- nil, or the outcome of the job if it has ended before.
local function end_as_cancelled(prefix, id, task, keep_ms, known)
  local job = prefix .. 'job:' .. id
  local waiters, b = known and known.waiters, known and known.place
  if not known then
    waiters, b = unpack(redis.call('HMGET', job, 'w', 'b'))
  end
  if not (known and known.is_bare and has_forgotten) then
    -- First, as this needs no memory: a script that has written is not stopped when it is full.
    redis.call('HDEL', job, 'w', 'p', 'n', 'a', 'h', 'q', 'x')
    has_forgotten = true
  end
  if keep_ms > 0 then
    local outcome = cancelled_outcomes[task] or '{"state":"cancelled","n":0,"task":"' .. task .. '"}'
    cancelled_outcomes[task] = outcome
    texts[keep_ms] = texts[keep_ms] or string.format('%.0f', keep_ms)
    local result = prefix .. 'result:' .. id
    if not redis.call('SET', result, outcome, 'PX', texts[keep_ms], 'NX') then
      local earlier = outcome_of(prefix, id)
      if earlier then
        return earlier
      end
      redis.call('SET', result, outcome, 'PX', texts[keep_ms]) -- another program's key
    end
    if waiters then
      notify(prefix, waiters, id, outcome, CANCELLED_INBOX_MS)
    end
  end
  redis.call('HSET', job, 'c', 'ended', 'ended', '0')
  leave_its_order(prefix, b, id)
  note_end(id, task, 'cancelled')
end

-- Whether a job was cancelled whose delivery has just left its worker: then it ends here, and must
-- not be put into the queue again.
local function has_been_cancelled(prefix, id, stream, entry, envelope)
  local how = meet_cancelled(prefix, id, stream, entry)
  if not how then
    return false
  end
  if how ~= 'ended' then
    end_as_cancelled(prefix, id, task_in(envelope), tonumber(how))
  end
  let_expire(prefix, id)
  return true
end
