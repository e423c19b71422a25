-- due.lua: say which schedules are due, and when the next will be.
--
-- KEYS[1]    schedules: definition, JSON, by name
-- KEYS[2]    schedule_due: name of each schedule that was made at run time, by ms since 1970
-- KEYS[3]    schedule_due_code: the same of those that code declares
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    limit: how many to list
-- ARGV[3]    look_ms: how soon to look again for the end of a job that a tick waits for
-- ARGV[4..]  names of the schedules that the caller's code declares; of others only those are
--            listed that were made at run time
--
-- Returns {wait_ms, now, then seven for each that is due:
--   name, rev, at, held, last, 1 where the job of the last tick has not ended (else 0),
--   definition}
-- at is the tick, held one that waits for the end of the last job, last the id of that; each
-- is empty where there is none. wait_ms is the time until the next is due, 0 where more than the
-- limit are, and -1 where nothing is. Cost O(limit and names), 5 microseconds each.

local schedules, due_names, due_code = KEYS[1], KEYS[2], KEYS[3]
local prefix, limit, look_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local wait = math.huge
local listed = {}
local count = 0

local function list(name)
  local state = redis.pcall('HMGET', prefix .. 'schedule:' .. name, 'rev', 'at', 'held', 'last')
  local definition = redis.call('HGET', schedules, name)
  local rev, at, held, last = state[1], state[2] or '', state[3] or '', state[4] or ''
  if not (definition and rev) then
    return
  end
  local job = prefix .. 'job:' .. last
  local lives = 0
  if last ~= '' and redis.call('EXISTS', job) == 1 and not redis.pcall('HGET', job, 'ended')
    and redis.call('EXISTS', prefix .. 'result:' .. last) == 0 then
    lives = 1
  end
  if lives == 1 and held ~= '' and (at == '' or tonumber(at) > now) then
    wait = math.min(wait, look_ms)
    if at ~= '' then
      wait = math.min(wait, tonumber(at) - now)
    end
    return
  end
  count = count + 1
  for _, told in ipairs({ name, rev, at, held, last, lives, definition }) do
    listed[#listed + 1] = told
  end
end

for _, name in ipairs(redis.call('ZRANGEBYSCORE', due_names, '-inf', now, 'LIMIT', 0, limit)) do
  list(name)
end
for at = 4, #ARGV do
  local due = redis.call('ZSCORE', due_code, ARGV[at])
  if due and tonumber(due) <= now then
    if count < limit then
      list(ARGV[at])
    else
      wait = 0
    end
  elseif due then
    wait = math.min(wait, tonumber(due) - now)
  end
end

local first = redis.call('ZRANGEBYSCORE', due_names, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
if first then
  wait = math.min(wait, tonumber(first) - now)
end
if redis.call('ZCOUNT', due_names, '-inf', now) > limit then
  wait = 0
end
local answer = { wait == math.huge and -1 or math.ceil(wait), now }
for _, told in ipairs(listed) do
  answer[#answer + 1] = told
end
return answer
