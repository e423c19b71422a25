-- cancel.lua: end jobs that have not ended, wherever they are.
--
-- KEYS[1]    delayed: job id by due time in ms
-- KEYS[2]    control
-- KEYS[3]    cancelled: job id by when that was asked
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    keep_ms: how long the outcome is kept where the envelope does not say
-- ARGV[4]    states: only of jobs in these, with spaces between; empty for any
-- ARGV[5..]  job ids
--
-- Returns for each id the state that it was caught in: 'delayed', 'parked' or 'queued', and
-- it has ended; 'running', and its worker is told. Where it had ended before, its outcome
-- (JSON), or 'cancelled' or 'done' where none is kept; nil where there is no such job. A
-- queued job's entry stays where it is: deleted, Redis could not tell the lag of its group any
-- more. Whoever is sent it throws it away. Who ends here is counted here. Cost
-- O(ids log delayed), about 15 microseconds each; callers send at most 100.

local delayed, control, cancelled = KEYS[1], KEYS[2], KEYS[3]
local group, prefix, usual_ms, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answers, running = {}, {}

-- Raise here where they are something else: later would be too late.
redis.call('XLEN', control)
redis.call('ZCARD', cancelled)

-- A longer one is not read for the sake of one number.
local LONGEST_ENVELOPE = 65536

local function is_wanted(state)
  return wanted == '' or string.find(' ' .. wanted .. ' ', ' ' .. state .. ' ', 1, true)
end

local function keep_ms(envelope, keeps_none)
  if keeps_none then
    return 0
  end
  if envelope and string.len(envelope) <= LONGEST_ENVELOPE
    and string.find(envelope, '"result_ttl"', 1, true) then
    local is_read, told = pcall(cjson.decode, envelope)
    local ttl = is_read and type(told) == 'table' and told['result_ttl']
    if type(ttl) == 'number' and ttl >= 0 then
      return math.floor(math.min(ttl, 3e9) * 1000)
    end
  end
  return usual_ms
end

local function field_of(entry, name)
  for at = 1, #entry[2], 2 do
    if entry[2][at] == name then
      return entry[2][at + 1]
    end
  end
end

-- Ends a job that has no stream entry to be met by anyone.
local function end_now(id, envelope, keeps_none)
  end_as_cancelled(prefix, id, task_in(envelope), keep_ms(envelope, keeps_none))
  let_expire(prefix, id)
end

local function is_pending(stream, entry)
  local pending = redis.pcall('XPENDING', stream, group, entry, entry, 1)
  return not pending.err and pending[1]
end

local function cancel_parked(id, place, keeps_none)
  local entry, task = string.match(place, '^(%S+) (.*)$')
  local parked = prefix .. 'parked:' .. task
  local found = redis.call('XRANGE', parked, entry, entry)[1]
  redis.call('SCARD', prefix .. 'parked') -- the same
  redis.call('XDEL', parked, entry)
  if redis.call('XLEN', parked) == 0 then
    redis.call('DEL', parked)
    redis.call('SREM', prefix .. 'parked', task)
  end
  end_now(id, found and field_of(found, 'job'), keeps_none)
end

local function cancel_in_stream(id, lane, entry, keeps_none)
  local job, stream = prefix .. 'job:' .. id, prefix .. 'stream:' .. lane
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  local state = found and is_pending(stream, entry) and 'running' or 'queued'
  if not is_wanted(state) then
    return state
  end
  local envelope = found and field_of(found, 'job')
  if not found then -- the stream is gone: nobody will meet it
    end_now(id, envelope, keeps_none)
  elseif state == 'queued' then
    end_as_cancelled(prefix, id, task_in(envelope), keep_ms(envelope, keeps_none))
    redis.call('ZADD', cancelled, now, id)
  else
    -- Asked once more its worker is told once more: it may have missed the first time.
    redis.call('HSET', job, 'c', string.format('%.0f', keep_ms(envelope, keeps_none)))
    redis.call('ZADD', cancelled, now, id)
    running[#running + 1] = lane
    running[#running + 1] = entry
  end
  return state
end

local function cancel(id)
  local outcome = redis.pcall('GET', prefix .. 'result:' .. id)
  if type(outcome) == 'string' then
    return outcome
  end
  local known = redis.pcall('HMGET', prefix .. 'job:' .. id, 'ended', 'c', 'p', 'q', 'e', 's', 'k')
  local envelope, parked, entry, lane = known[3], known[4], known[5], known[6] or 'default'
  if known[1] then
    return known[2] == 'ended' and 'cancelled' or 'done'
  end
  if envelope then
    if is_wanted('delayed') then
      redis.call('ZREM', delayed, id)
      end_now(id, envelope, known[7])
    end
    return 'delayed'
  end
  if parked then
    if is_wanted('parked') then
      cancel_parked(id, parked, known[7])
    end
    return 'parked'
  end
  return entry and cancel_in_stream(id, lane, entry, known[7]) or false
end

for at = 5, #ARGV do
  answers[at - 4] = cancel(ARGV[at])
end
if #running > 0 then
  redis.call('XADD', control, 'MAXLEN', '~', 1000, '*',
    'say', 'cancel', 'entries', table.concat(running, ' '))
end

-- Of the oldest, those whose entry is gone without anyone having met it.
for _, id in ipairs(redis.call('ZRANGE', cancelled, 0, 1)) do
  local known = redis.pcall('HMGET', prefix .. 'job:' .. id, 'e', 's')
  local entry, stream = known[1], prefix .. 'stream:' .. (known[2] or 'default')
  if not entry or #redis.pcall('XRANGE', stream, entry, entry) == 0 then
    redis.call('ZREM', cancelled, id)
    let_expire(prefix, id)
  end
end
count_noted_ends(prefix)
return answers
