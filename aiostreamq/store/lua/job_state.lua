-- job_state.lua: where a job stands.
--
-- KEYS[1]  job
-- KEYS[2]  result
-- ARGV[1]  group
-- ARGV[2]  prefix of the queue's keys
--
-- Returns the outcome (JSON) of a job that has ended and kept it, else 'delayed',
-- 'parked', 'queued', 'running', 'cancelled' or 'done', and nil where there is no such job. Cost O(1).

local outcome = redis.call('GET', KEYS[2])
if outcome then
  return outcome
end
local known = redis.call('HMGET', KEYS[1], 'e', 's', 'ended', 'p', 'c')
local entry, lane, ended = known[1], known[2] or 'default', known[3]
if ended then
  return known[5] == 'ended' and 'cancelled' or 'done'
end
if known[4] then
  return 'delayed'
end
if lane == 'parked' then
  return 'parked'
end
if not entry then
  return false
end
local stream = ARGV[2] .. 'stream:' .. lane
local pending = redis.pcall('XPENDING', stream, ARGV[1], entry, entry, 1)
if pending.err or not pending[1] then
  return 'queued'
end
return 'running'
