-- pause.lua: pause tasks or lanes, and notify the workers.
--
-- KEYS[1]    paused: task or lane -> until when (ms since 1970), 0 for until it is resumed
-- KEYS[2]    control
-- ARGV[1]    until: 0, '+' and ms from now, or ms since 1970
-- ARGV[2..]  tasks and lanes: 'task:' or 'lane:' and the name
--
-- Returns how many of them were not paused before. The last call decides until when.
-- Cost O(tasks and lanes).
--
-- uses: check_keys control time

local paused, control, limit = KEYS[1], KEYS[2], ARGV[1]
local fresh = 0
check_stream(control)

if string.sub(limit, 1, 1) == '+' then
  limit = string.format('%.0f', read_clock() + tonumber(limit))
end
for at = 2, #ARGV do
  fresh = fresh + redis.call('HSET', paused, ARGV[at], limit)
end
send_to_workers(control, 'pause')
return fresh
