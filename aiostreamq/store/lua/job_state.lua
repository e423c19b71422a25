-- job_state.lua: look up the state of a job.
--
-- KEYS[1]  job
-- KEYS[2]  result
-- ARGV[1]  group
-- ARGV[2]  prefix of the queue's keys
--
-- Returns the outcome (JSON) if the job has ended and its outcome is kept; else 'delayed',
-- 'parked', 'queued', 'running', 'cancelled' or 'done', or nil if there is no such job. Cost O(1).
--
-- uses: job job_state

local outcome = redis.call('GET', KEYS[2])
if outcome then
  return outcome
end
local job = load_job(KEYS[1])
local state = state_of(job)
return state == 'in_lane' and lane_state(ARGV[2], ARGV[1], job) or state or false
