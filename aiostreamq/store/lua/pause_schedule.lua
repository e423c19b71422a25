-- pause_schedule.lua: pause or resume a schedule.
--
-- KEYS[1]  schedule_due: name of each schedule that was made at run time, by ms since 1970
-- KEYS[2]  schedule_due_code: the same for those that code declares
-- KEYS[3]  control
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  name
-- ARGV[3]  rev that the caller has seen, or empty to pause whatever definition there is
-- ARGV[4]  due: ms since 1970 of the next tick, or empty if there is none; only to resume
-- ARGV[5]  paused: 1 to pause, 0 to resume
--
-- Returns 1; 0 if it was so already; -1 if there is no such schedule; -2 if it has changed since
-- the caller has seen it. Ticks that are due during a pause are left out. Cost O(log schedules).
--
-- uses: check_keys control schedule

local control = KEYS[3]
local state = ARGV[1] .. 'schedule:' .. ARGV[2]
local name, rev, due, paused = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local known = load_schedule(state)
local due_names = known.is_code and KEYS[2] or KEYS[1]

check_schedule(state)
check_sorted_set(due_names)
check_stream(control)

if not known.rev then
  return -1
end
if rev ~= '' and known.rev ~= rev then
  return -2
end
if known.is_paused == (paused == '1') then
  return 0
end
if paused == '1' then
  redis.call('ZREM', due_names, name)
  redis.call('HDEL', state, 'at', 'held')
  redis.call('HSET', state, 'paused', '1')
  return 1
end
redis.call('HDEL', state, 'paused')
if due ~= '' then
  redis.call('HSET', state, 'at', due)
  redis.call('ZADD', due_names, due, name)
end
send_to_workers(control, 'schedule')
return 1
