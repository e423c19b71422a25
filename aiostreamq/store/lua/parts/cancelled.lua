-- cancelled.lua: a part of every script that ends deliveries or moves them.
--
-- A cancelled job whose entry no worker has met yet, or that runs, is among `cancelled`:
-- its id by when (ms since 1970) that was asked. Its hash says in `c` which of the two:
-- 'ended', or how many ms its outcome is to be kept when it ends.

-- As settle.lua's id_ms and inbox_ms.
local CANCELLED_ID_MS, CANCELLED_INBOX_MS = 60000, 60000

local function task_in(envelope)
  return string.match(envelope or '', '^{"task":"([%w_.:-]+)"') or ''
end

-- Ends a job as cancelled and tells who waits. Its hash stays, as its id stays taken.
local function end_as_cancelled(prefix, id, task, keep_ms)
  local job = prefix .. 'job:' .. id
  local waiters = redis.call('HGET', job, 'w')
  -- First, as it needs no memory: a script that has written is not stopped when it is full.
  redis.call('HDEL', job, 'w', 'p', 'n', 'a', 'h', 'q', 'x')
  redis.call('HSET', job, 'c', 'ended', 'ended', '0')
  if keep_ms > 0 then
    local outcome = '{"state":"cancelled","n":0,"task":"' .. task .. '"}'
    redis.call('SET', prefix .. 'result:' .. id, outcome, 'PX', string.format('%.0f', keep_ms))
    for inbox in string.gmatch(waiters or '', '%S+') do
      redis.call('RPUSH', prefix .. 'inbox:' .. inbox, id .. ' ' .. outcome)
      redis.call('PEXPIRE', prefix .. 'inbox:' .. inbox, CANCELLED_INBOX_MS)
    end
  end
end

-- There is no entry of the job any more: forget it when its id is free again.
local function let_expire(prefix, id)
  redis.call('HDEL', prefix .. 'job:' .. id, 'e', 's')
  redis.call('PEXPIRE', prefix .. 'job:' .. id, CANCELLED_ID_MS)
end

-- What the job's hash says in `c`, once and only to who has its entry; else false.
local function meet_cancelled(prefix, id, entry)
  if not redis.call('ZSCORE', prefix .. 'cancelled', id) then
    return false
  end
  local known = redis.call('HMGET', prefix .. 'job:' .. id, 'c', 'e')
  if not known[1] or known[2] ~= entry then
    return false
  end
  redis.call('ZREM', prefix .. 'cancelled', id)
  return known[1]
end

-- Whether a job whose entry has just been acknowledged was cancelled: then it has ended,
-- and must not come back to life.
local function has_been_cancelled(prefix, id, entry, envelope)
  local how = meet_cancelled(prefix, id, entry)
  if not how then
    return false
  end
  if how ~= 'ended' then
    end_as_cancelled(prefix, id, task_in(envelope), tonumber(how))
  end
  let_expire(prefix, id)
  return true
end
