-- calls.lua: delayed jobs that further calls of their key change, while they wait.
--
-- The field f of such a job's hash is '<ms since 1970 of the first call> <ids of the last calls>'. A
-- worker that ends the job leaves them in the string `calls:<digest>`, as '<id of the job> <ids>'. A
-- new job takes over those of the job before it.
--
-- uses: job job_state

-- How many calls a job remembers. A call that is repeated after a lost reply is among these, unless
-- many others came in between: then it counts as a new call.
local MOST_CALLS = 16

-- As many inboxes as a job notifies of its end: see subscribe.lua.
local MOST_INBOXES_BYTES = 2048

-- Return when the first call of a job came, and the ids of its last calls; nil and '' if it has none.
local function calls_of(job)
  local known = redis.pcall('HGET', job, 'f')
  local first, ids = string.match(type(known) == 'string' and known or '', '^(%d+) (.*)$')
  return tonumber(first), ids or ''
end

-- Whether a call is among others.
local function is_among(ids, id)
  return string.find(' ' .. ids .. ' ', ' ' .. id .. ' ', 1, true) ~= nil
end

-- Whether a call has reached a job already.
local function has_call(job, id)
  local _, ids = calls_of(job)
  return is_among(ids, id)
end

-- How long the calls of an ended job are remembered: as long as an id stays taken at least.
local CALLS_MS = 60000

-- Remember the calls of a job that a worker ends.
local function keep_calls(prefix, digest, id)
  local first, ids = calls_of(prefix .. 'job:' .. id)
  if first then
    redis.call('SET', prefix .. 'calls:' .. digest, id .. ' ' .. ids, 'PX', CALLS_MS)
  end
end

-- Return the job of a key that has ended last and has had calls, and their ids; nil and '' if none is
-- remembered.
local function kept_calls(prefix, digest)
  local known = redis.pcall('GET', prefix .. 'calls:' .. digest)
  local id, ids = string.match(type(known) == 'string' and known or '', '^(%S+) (.*)$')
  return id, ids or ''
end

-- Whether a job still waits for its first run, so that calls can change it.
local function can_be_changed(job)
  local known = load_job(job)
  return redis.call('HGET', job, 'f') and state_of(known) == 'delayed'
    and known.delivery == '1' and not known.attempt
end

-- Remember a call of a job. first: when the first one came; ids: those of the calls before it, with
-- spaces between.
local function note_call(job, first, ids, id)
  ids = ids .. ' ' .. id
  local _, count = string.gsub(ids, '%S+', '')
  if count > MOST_CALLS then
    ids = string.gsub(ids, '^%s*%S+', '')
  end
  redis.call('HSET', job, 'f', string.format('%.0f ', first) .. string.match(ids, '^%s*(.*)$'))
end

-- Give a job the envelope of a further call. call: its id, mark, inbox and envelope. Return when the
-- first call came.
local function change(job, call, now)
  local first, ids = calls_of(job)
  first = first or now
  redis.call('HSET', job, 'p', call.envelope)
  note_call(job, first, ids, call.id)
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
  return first
end
