-- fire_schedules.lua: fire ticks of schedules, each once, however many workers try.
--
-- KEYS[1]    schedule_due: name of each schedule that was made at run time, by ms since 1970
-- KEYS[2]    schedule_due_code: the same for those that code declares
-- KEYS[3]    delayed: job id by due time in ms
-- KEYS[4]    control
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  twelve for each tick:
--              name of the schedule
--              rev, at, held: from due_schedules.lua, or as the tick before leaves them
--              following: the tick to plan next, or empty if there is none
--              planned: the tick; empty if it was missed and is left out
--              id of its job
--              lane
--              mark: 0 no waiter yet, 2 no result is kept
--              start: ms since 1970 before which the job may not start, 0 for now
--              rule: what to do if the job of the last tick has not ended, then a space and the
--                maximum number of runs, 0 for no limit
--              envelope, JSON
--
-- Returns one number for each:
--   0 nothing was done: another call was first, or the schedule has changed
--   1 enqueued
--   2 skipped, because the last job has not ended
--   3 held until the last job ends
--   4 its job existed already
--   5 left out: it was missed, or is one too many
-- Or the id of the last job, if only that job is in the way of a tick whose rule is cancel_old.
-- Nothing was done then: cancel that job, and fire the tick again with the rule allow. The
-- comparison of rev, at and held is the lock; it outlives the jobs and their results. Raises if a
-- lane is not a stream: its schedules are as they were, and the others have been fired.
-- Cost O(ticks log schedules), about 15 microseconds each; callers send at most 100.
--
-- uses: check_keys delayed job_state put_new schedule

local NOTHING, ENQUEUED, SKIPPED, HELD, THERE_ALREADY, LEFT_OUT = 0, 1, 2, 3, 4, 5
local FIRST, EACH = 2, 12
local prefix, delayed, control = ARGV[1], KEYS[3], KEYS[4]
local answers, trouble = {}, nil

check_sorted_set(KEYS[1])
check_sorted_set(KEYS[2])
local first = first_due(delayed)

local function read_tick(at)
  local overlap, max_runs = string.match(ARGV[at + 10], '^(%S+) (%d+)$')
  return {
    name = ARGV[at],
    state = prefix .. 'schedule:' .. ARGV[at],
    rev = ARGV[at + 1],
    at = ARGV[at + 2],
    held = ARGV[at + 3],
    following = ARGV[at + 4],
    planned = ARGV[at + 5],
    id = ARGV[at + 6],
    job = prefix .. 'job:' .. ARGV[at + 6],
    result = prefix .. 'result:' .. ARGV[at + 6],
    lane = ARGV[at + 7],
    mark = ARGV[at + 8],
    start = tonumber(ARGV[at + 9]),
    overlap = overlap,
    max_runs = max_runs == '0' and math.huge or tonumber(max_runs),
    envelope = ARGV[at + 11],
  }
end

-- Whether the schedule is still as the caller has seen it: this is the lock.
local function is_as_seen(schedule, tick)
  return schedule.rev == tick.rev and (schedule.at or '') == tick.at
    and (schedule.held or '') == tick.held and not schedule.is_paused
end

-- Whether the job of a tick can be put into its lane.
local function has_place(tick)
  local length = tick.start > 0 and 0 or redis.pcall('XLEN', prefix .. 'stream:' .. tick.lane)
  if type(length) == 'number' then
    return true
  end
  trouble = length -- an error: raised when the others have been fired
  return false
end

local function put(tick)
  if is_taken(tick.job, tick.result) then
    return THERE_ALREADY
  elseif tick.start > 0 then
    delay_new(delayed, tick.start, tick.lane, tick.job, tick.id, tick.mark, '', tick.envelope)
  else
    local stream = prefix .. 'stream:' .. tick.lane
    put_new(stream, tick.lane, tick.job, tick.id, tick.mark, '', tick.envelope)
  end
  return ENQUEUED
end

-- Return the answer to a tick while the last job has not ended, or nil if the tick is fired anyway.
local function overlap(tick, last)
  if tick.planned == tick.held then
    return NOTHING
  elseif tick.overlap == 'buffer_one' and tick.held == '' then
    return HELD
  elseif tick.overlap ~= 'cancel_old' then
    redis.call('HINCRBY', tick.state, 'skipped', 1)
    return SKIPPED
  elseif not is_taken(tick.job, tick.result) then
    -- This changes nothing, but raises if memory is full. Without it a job would be cancelled for
    -- one that cannot be enqueued.
    redis.call('HSET', tick.state, 'last', last)
    return last
  end
end

local function fire(tick, last)
  local answer = last and tick.overlap ~= 'allow' and is_open(prefix, last) and overlap(tick, last)
  if not answer then
    answer = put(tick)
    redis.call('HSET', tick.state, 'last', tick.id, 'last_at', tick.planned)
  end
  if answer == ENQUEUED then
    redis.call('HINCRBY', tick.state, 'runs', 1)
  end
  return answer
end

-- Return the tick that waits for the end of the last job after this answer.
local function held_after(tick, answer)
  if answer == HELD then
    return tick.planned
  elseif tick.planned == tick.held and (answer == ENQUEUED or answer == THERE_ALREADY) then
    return ''
  end
  return tick.held
end

local function keep(state, field, value)
  if value == '' then
    redis.call('HDEL', state, field)
  else
    redis.call('HSET', state, field, value)
  end
end

local function plan(tick, following, held, is_code)
  keep(tick.state, 'at', following)
  keep(tick.state, 'held', held)
  local due_names = is_code and KEYS[2] or KEYS[1]
  local due = held ~= '' and held or following
  if due == '' then
    redis.call('ZREM', due_names, tick.name)
  else
    redis.call('ZADD', due_names, due, tick.name)
  end
end

local function handle(tick)
  local schedule = load_schedule(tick.state)
  if not is_as_seen(schedule, tick) or tick.planned ~= '' and not has_place(tick) then
    return NOTHING
  end
  local runs, answer = tonumber(schedule.runs or 0), LEFT_OUT
  -- A schedule can have had more runs than it may: its limit was lowered.
  if tick.planned ~= '' and runs < tick.max_runs then
    answer = fire(tick, schedule.last)
  end
  if type(answer) == 'string' then
    return answer -- nothing was done: the last job is in the way
  end
  if answer == ENQUEUED then
    runs = runs + 1
  end
  if runs >= tick.max_runs then
    plan(tick, '', '', schedule.is_code)
  else
    plan(tick, tick.following, held_after(tick, answer), schedule.is_code)
  end
  return answer
end

for at = FIRST, #ARGV, EACH do
  answers[#answers + 1] = handle(read_tick(at))
end
wake_if_earlier(control, first)
return trouble or answers
