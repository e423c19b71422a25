-- job_state.lua: finds out the state of a job. A part of every script that depends on it.
--
-- uses: job

-- Return the state of a job: 'delayed', 'held', 'parked', 'in_lane' (see lane_state), 'cancelled', 'done'
-- for any other end; or nil if there is no such job.
local function state_of(job)
  if job.ended_by then
    return job.cancelled == 'ended' and 'cancelled' or 'done'
  elseif job.delivery then
    return job.lane == 'held' and 'held' or 'delayed'
  elseif job.parked_at then
    return 'parked'
  end
  return job.entry and 'in_lane' or nil
end

-- Return the state of a job that is in a lane: 'running' if a worker has its entry, or 'queued'.
local function lane_state(prefix, group, job)
  local stream = prefix .. 'stream:' .. job.lane
  local pending = redis.pcall('XPENDING', stream, group, job.entry, job.entry, 1)
  return not pending.err and pending[1] and 'running' or 'queued'
end

-- Whether a job exists and has not ended. A job with a result has ended, even if it has a hash.
local function is_open(prefix, id)
  local state = state_of(load_job(prefix .. 'job:' .. id))
  return state ~= nil and state ~= 'done' and state ~= 'cancelled'
    and redis.call('EXISTS', prefix .. 'result:' .. id) == 0
end
