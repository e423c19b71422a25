-- fire_schedules.lua: fire ticks of schedules, each once, whoever and how many try.
--
-- KEYS[1]    schedule_due: name of each schedule that was made at run time, by ms since 1970
-- KEYS[2]    schedule_due_code: the same of those that code declares
-- KEYS[3]    delayed: job id by due time in ms
-- KEYS[4]    control
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  twelve for each tick:
--              name of the schedule
--              rev, at, held: as due_schedules.lua has told them, or as the tick before leaves them
--              following: the tick that is planned then, empty where there is none
--              planned: the tick; empty where it was missed and is left out
--              id of its job
--              lane
--              mark: 0 nobody waits yet, 2 no result is kept
--              start: ms since 1970 before which the job may not start, 0 for now
--              rule: what is done while the job of the last tick has not ended, then a space
--                and how many may be enqueued in all, 0 for any number
--              envelope, JSON
--
-- Returns one number for each: 1 enqueued, 2 left out, because the last job has not ended,
-- 3 held until it ends, 4 its job was there already, 5 left out, as missed or one too many, and 0 nothing was
-- done: another was first, or the schedule is another by now. Or the id of the last job, where
-- only that is in the way of a tick whose rule is cancel_old: nothing was done; cancel it, and fire
-- the tick again with the rule allow. The comparison of rev, at and
-- held is the lock; it outlives the jobs and their results. Raises where a lane is no stream:
-- its schedules are as they were, the others have been fired. Cost O(ticks log schedules), about
-- 15 microseconds each; callers send at most 100.

local prefix, delayed, control = ARGV[1], KEYS[3], KEYS[4]
local answers, trouble = {}, nil

-- Raise here where they are something else: later would be too late.
redis.call('ZCARD', KEYS[1])
redis.call('ZCARD', KEYS[2])
local first = first_due(delayed)

-- Whether the job of a tick can be put where it is to go.
local function has_place(lane, start)
  local length = tonumber(start) > 0 and 0 or redis.pcall('XLEN', prefix .. 'stream:' .. lane)
  if type(length) == 'number' then
    return true
  end
  trouble = length -- an error: told when the others have been fired
  return false
end

local function put(id, lane, mark, start, envelope)
  local job = prefix .. 'job:' .. id
  if is_taken(job, prefix .. 'result:' .. id) then
    return 4
  end
  if tonumber(start) > 0 then
    delay_new(delayed, tonumber(start), lane, job, id, mark, '', envelope)
  else
    put_new(prefix .. 'stream:' .. lane, lane, job, id, mark, '', envelope)
  end
  return 1
end

-- What is done about a tick that is still to be had, as is answered; and the tick that is held then.
local function fire(state, known, planned, overlap, id, lane, mark, start, envelope)
  local held, last = known[3] or '', known[4]
  if last and overlap ~= 'allow' and is_open(prefix, last) then
    if planned == held then
      return 0, held
    end
    if overlap == 'buffer_one' and held == '' then
      return 3, planned
    end
    if overlap ~= 'cancel_old' then
      redis.call('HINCRBY', state, 'skipped', 1)
      return 2, held
    elseif not is_taken(prefix .. 'job:' .. id, prefix .. 'result:' .. id) then
      -- Changes nothing, but raises where memory is full: no job is cancelled for one that
      -- could not be enqueued.
      redis.call('HSET', state, 'last', last)
      return last, held
    end
  end
  local answer = put(id, lane, mark, start, envelope)
  if answer == 1 then
    redis.call('HINCRBY', state, 'runs', 1)
  end
  redis.call('HSET', state, 'last', id, 'last_at', planned)
  return answer, planned == held and '' or held
end

local function keep(state, field, value)
  if value == '' then
    redis.call('HDEL', state, field)
  else
    redis.call('HSET', state, field, value)
  end
end

local function plan(name, state, following, held, is_code)
  keep(state, 'at', following)
  keep(state, 'held', held)
  local due_names = is_code and KEYS[2] or KEYS[1]
  local due = held ~= '' and held or following
  if due == '' then
    redis.call('ZREM', due_names, name)
  else
    redis.call('ZADD', due_names, due, name)
  end
end

for at = 2, #ARGV, 12 do
  local name, rev, expected, expected_held = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local following, planned = ARGV[at + 4], ARGV[at + 5]
  local overlap, max_runs = string.match(ARGV[at + 10], '^(%S+) (%d+)$')
  local state = prefix .. 'schedule:' .. name
  local known = redis.pcall('HMGET', state, 'rev', 'at', 'held', 'last', 'code', 'paused', 'runs')
  local answer = 0
  if known[1] == rev and (known[2] or '') == expected and (known[3] or '') == expected_held
    and not known[6] and (planned == '' or has_place(ARGV[at + 7], ARGV[at + 9])) then
    local held = expected_held
    -- Where it was changed to fewer than it has had.
    local is_over = max_runs ~= '0' and tonumber(known[7] or '0') >= tonumber(max_runs)
    if planned == '' or is_over then
      answer = 5
    else
      answer, held = fire(state, known, planned, overlap,
        ARGV[at + 6], ARGV[at + 7], ARGV[at + 8], ARGV[at + 9], ARGV[at + 11])
    end
    if max_runs ~= '0' and tonumber(redis.call('HGET', state, 'runs') or '0') >= tonumber(max_runs) then
      following, held = '', ''
    end
    if type(answer) == 'number' then
      plan(name, state, following, held, known[5])
    end
  end
  answers[#answers + 1] = answer
end
wake_if_earlier(control, first)
return trouble or answers
