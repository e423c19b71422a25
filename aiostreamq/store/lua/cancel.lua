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
-- Cost O(ids log delayed), about 10 microseconds each if they are in the order of their lane;
-- callers send at most 100.
--
-- uses: cancelled check_keys control ending entry job job_state parked stats time
-- flags: allow-oom

local delayed, control, cancelled = KEYS[1], KEYS[2], KEYS[3]
local group, prefix, usual_ms, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now = string.format('%.0f', (read_clock()))
local answers, running, in_lanes = {}, {}, {}

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
  if envelope and string.find(envelope, '"result_ttl"', 1, true)
    and string.len(envelope) <= LONGEST_ENVELOPE then
    local is_json, call = pcall(cjson.decode, envelope)
    local ttl = is_json and type(call) == 'table' and call.result_ttl
    if type(ttl) == 'number' and ttl >= 0 then
      return math.floor(math.min(ttl, 3e9) * 1000)
    end
  end
  return usual_ms
end

-- Return what this script needs of a job, as load_job does with twice the cost.
local function load_briefly(key)
  local known = redis.pcall('HMGET', key, 'e', 's', 'p', 'q', 'w', 'k', 'c', 'ended')
  local job = {
    entry = known[1],
    lane = known[2] or 'default',
    envelope = known[3],
    parked_at = known[4],
    waiters = known[5],
    keeps_result = not known[6],
    cancelled = known[7],
    ended_by = known[8],
    is_bare = false,
    has_entry = false,
    is_handled = false,
    state = nil,
    body = nil,
  }
  job.state = state_of(job)
  return job
end

-- Return the outcomes of the jobs that have one, and the other jobs, by their ids.
local function load_all()
  local outcomes, jobs, keys = {}, {}, {}
  for at = 5, #ARGV do
    keys[at - 4] = prefix .. 'result:' .. ARGV[at]
  end
  for place, outcome in ipairs(redis.call('MGET', unpack(keys))) do
    local id = ARGV[place + 4]
    if outcome then
      outcomes[id] = outcome
    elseif not jobs[id] then
      jobs[id] = load_briefly(prefix .. 'job:' .. id)
    end
  end
  return outcomes, jobs
end

-- Return what Redis has between the entries of two jobs, by entry: the fields of the entries and
-- the deliveries that workers have. The latter is nil if there may be more of them.
local function look_between(stream, first, last, count)
  local fields, deliveries = {}, {}
  for _, entry in ipairs(redis.call('XRANGE', stream, first, last, 'COUNT', count)) do
    fields[entry[1]] = entry[2]
  end
  local pending = redis.pcall('XPENDING', stream, group, first, last, count)
  for _, delivery in ipairs(pending.err and {} or pending) do
    deliveries[delivery[1]] = true
  end
  return fields, #pending < count and deliveries or nil
end

-- Find out of the jobs of a lane whether they run, and their envelopes. Usually the jobs are in the
-- order of the lane with few others between, and are found together.
local function look_at_lane(lane, jobs)
  local stream = prefix .. 'stream:' .. lane
  local fields, deliveries = look_between(stream, jobs[1].entry, jobs[#jobs].entry, #jobs)
  for _, job in ipairs(jobs) do
    local found = fields[job.entry]
    if found and deliveries then
      job.state = deliveries[job.entry] and 'running' or 'queued'
    else
      local alone = redis.call('XRANGE', stream, job.entry, job.entry)[1]
      found = alone and alone[2]
      job.state = found and lane_state(prefix, group, job) or 'queued'
    end
    if found then
      -- A job that has run before has more in its entry, and maybe in its hash.
      job.has_entry, job.is_bare = true, #found == ENVELOPE and not job.waiters
      job.body = found[ENVELOPE - 1] == 'job' and found[ENVELOPE] or fields_by_name(found).job
    end
  end
end

local function look_at_lanes(jobs)
  local by_lane = {}
  for at = 5, #ARGV do
    local job = jobs[ARGV[at]]
    if job and job.state == 'in_lane' then
      local lane = by_lane[job.lane] or {}
      lane[#lane + 1], by_lane[job.lane] = job, lane
      job.state = nil -- an id that is given twice is looked up once
    end
  end
  for lane, found in pairs(by_lane) do
    look_at_lane(lane, found)
  end
end

-- End a job that has no entry which a worker could receive.
local function end_now(id, job, envelope)
  end_as_cancelled(prefix, id, task_in(envelope), keep_ms(job, envelope), job)
  let_expire(prefix, id)
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
  if not job.has_entry then -- its stream was deleted: no worker will receive it
    end_now(id, job)
    return
  end
  if job.state == 'queued' then
    end_as_cancelled(prefix, id, task_in(job.body), keep_ms(job, job.body), job)
  else
    -- A repeated request sends the message again: the worker may have missed the first one.
    redis.call('HSET', prefix .. 'job:' .. id, 'c', string.format('%.0f', keep_ms(job, job.body)))
    running[#running + 1] = job.lane
    running[#running + 1] = job.entry
  end
  in_lanes[#in_lanes + 1] = now
  in_lanes[#in_lanes + 1] = id
end

local function cancel(id, job)
  if job.state == 'queued' or job.state == 'running' then
    cancel_in_lane(id, job)
  elseif job.state == 'delayed' then
    redis.call('ZREM', delayed, id)
    end_now(id, job, job.envelope)
  elseif job.state == 'parked' then
    cancel_parked(id, job)
  end
end

local outcomes, jobs = load_all()
look_at_lanes(jobs)
for at = 5, #ARGV do
  local id = ARGV[at]
  local job = jobs[id]
  answers[at - 4] = outcomes[id] or job.state or false
  if job and job.state and not job.is_handled and is_wanted(job.state) then
    job.is_handled = true
    cancel(id, job)
  end
end
if #in_lanes > 0 then
  redis.call('ZADD', cancelled, unpack(in_lanes))
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
