-- note_suspect_run.lua: record that a job is about to run that was with workers when they died.
--
-- KEYS[1]  hash of the job
-- ARGV[1]  n, the number of the delivery
--
-- Returns 1, or 0 if there is no such job (any more) and nothing was recorded. If this worker dies
-- too, only a recorded delivery counts against its job: one that was still waiting is innocent.
-- Cost O(1).
--
-- flags: allow-oom

local job, n = KEYS[1], ARGV[1]

-- A hash that is gone must not come back: it would never be deleted.
if redis.call('EXISTS', job) == 0 then
  return 0
end
redis.call('HSET', job, 'x', n)
return 1
