-- note_suspect_run.lua: note that a delivery is about to be run whose job was with workers that died.
--
-- KEYS[1]  hash of the job
-- ARGV[1]  n, the number of the delivery
--
-- Returns 1, or 0 where there is no such job (any more) and nothing was noted. Only
-- a delivery that is noted counts against its job when this worker dies too: one
-- that still waited for its turn is innocent. Cost O(1).
--
-- flags: allow-oom

local job, n = KEYS[1], ARGV[1]

-- A hash that is gone must not come back: nobody would delete it.
if redis.call('EXISTS', job) == 0 then
  return 0
end
redis.call('HSET', job, 'x', n)
return 1
