-- delete_schedule.lua: delete a schedule. The jobs that it has enqueued stay.
--
-- KEYS[1]  schedules: definition, JSON, by name
-- KEYS[2]  schedule_due: name of each schedule that was made at run time, by ms since 1970
-- KEYS[3]  schedule_due_code: the same for those that code declares
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  name
-- ARGV[3]  unseen_ms: delete it only if no code has declared it for this long; 0 for always
--
-- Returns 1, or 0 if nothing was deleted. Cost O(log schedules).
--
-- uses: time

local name, unseen_ms = ARGV[2], tonumber(ARGV[3])
local state = ARGV[1] .. 'schedule:' .. name

if unseen_ms > 0 then
  local seen = redis.call('HGET', state, 'seen')
  if not seen or read_clock() - tonumber(seen) < unseen_ms then
    return 0
  end
end
redis.call('ZREM', KEYS[2], name)
redis.call('ZREM', KEYS[3], name)
redis.call('DEL', state)
return redis.call('HDEL', KEYS[1], name)
