-- cancel.lua: cancel jobs that have not ended, in whatever state they are.
--
-- KEYS[1]    delayed: job id by due time in ms
-- KEYS[2]    control
-- KEYS[3]    cancelled: job id by the time of the request
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    keep_ms: how long the outcome is kept if the envelope has no result_ttl
-- ARGV[4]    states: cancel only jobs in these, separated by spaces; empty for any
-- ARGV[5..]  job ids
--
-- Returns the state of each job before the call. A job that is 'delayed', 'parked' or 'queued' has
-- ended now, and is counted. A job that is 'running' is ended by its worker, which gets a message.
-- For a job that had ended before: its outcome (JSON), or 'cancelled' or 'done' if none is kept.
-- nil if there is no such job. The entry of a queued job stays in its stream, because Redis could
-- not report the lag of the group if it were deleted. The worker that receives the entry drops it.
-- Cost O(ids log delayed), about 15 microseconds each; callers send at most 100.
--
-- uses: cancelled check control ending entry job job_state parked stats time
-- flags: allow-oom

local delayed, control, cancelled = KEYS[1], KEYS[2], KEYS[3]
local group, prefix, usual_ms, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now = read_clock()
local answers, running = {}, {}

check_stream(control)
check_sorted_set(cancelled)

-- A longer envelope is not decoded for one number.
local LONGEST_ENVELOPE = 65536

local function is_wanted(state)
  return wanted == '' or string.find(' ' .. wanted .. ' ', ' ' .. state .. ' ', 1, true)
end

local function keep_ms(job, envelope)
  if not job.keeps_result then
    return 0
  end
  if envelope and string.len(envelope) <= LONGEST_ENVELOPE
    and string.find(envelope, '"result_ttl"', 1, true) then
    local is_json, call = pcall(cjson.decode, envelope)
    local ttl = is_json and type(call) == 'table' and call.result_ttl
    if type(ttl) == 'number' and ttl >= 0 then
      return math.floor(math.min(ttl, 3e9) * 1000)
    end
  end
  return usual_ms
end

-- End a job that has no entry which a worker could receive.
local function end_now(id, job, envelope)
  end_as_cancelled(prefix, id, task_in(envelope), keep_ms(job, envelope))
  let_expire(prefix, id)
end

local function cancel_delayed(id, job)
  redis.call('ZREM', delayed, id)
  end_now(id, job, job.envelope)
end

local function cancel_parked(id, job)
  local entry, task = string.match(job.parked_at, '^(%S+) (.*)$')
  local parked = prefix .. 'parked:' .. task
  local found = redis.call('XRANGE', parked, entry, entry)[1]
  are_any_parked(prefix)
  redis.call('XDEL', parked, entry)
  forget_if_empty(prefix, task)
  end_now(id, job, found and fields_by_name(found[2]).job)
end

local function cancel_in_lane(id, job)
  local found = redis.call('XRANGE', prefix .. 'stream:' .. job.lane, job.entry, job.entry)[1]
  local state = found and lane_state(prefix, group, job) or 'queued'
  if not is_wanted(state) then
    return state
  end
  if not found then -- its stream was deleted: no worker will receive it
    end_now(id, job)
    return state
  end
  local envelope = fields_by_name(found[2]).job
  if state == 'queued' then
    end_as_cancelled(prefix, id, task_in(envelope), keep_ms(job, envelope))
  else
    -- A repeated request sends the message again: the worker may have missed the first one.
    redis.call('HSET', prefix .. 'job:' .. id, 'c', string.format('%.0f', keep_ms(job, envelope)))
    running[#running + 1] = job.lane
    running[#running + 1] = job.entry
  end
  redis.call('ZADD', cancelled, now, id)
  return state
end

local function cancel(id)
  local outcome = redis.pcall('GET', prefix .. 'result:' .. id)
  if type(outcome) == 'string' then
    return outcome
  end
  local job = load_job(prefix .. 'job:' .. id)
  local state = state_of(job)
  if state == 'in_lane' then
    return cancel_in_lane(id, job)
  elseif state == 'delayed' and is_wanted(state) then
    cancel_delayed(id, job)
  elseif state == 'parked' and is_wanted(state) then
    cancel_parked(id, job)
  end
  return state or false
end

for at = 5, #ARGV do
  answers[at - 4] = cancel(ARGV[at])
end
if #running > 0 then
  send_to_workers(control, 'cancel', 'entries', table.concat(running, ' '))
end

-- Remove the oldest ones if their entries are gone, although no worker has received them.
for _, id in ipairs(redis.call('ZRANGE', cancelled, 0, 1)) do
  local job = load_job(prefix .. 'job:' .. id)
  local stream = prefix .. 'stream:' .. job.lane
  if not job.entry or #redis.pcall('XRANGE', stream, job.entry, job.entry) == 0 then
    redis.call('ZREM', cancelled, id)
    let_expire(prefix, id)
  end
end
count_noted_ends(prefix)
return answers
