-- resume.lua: resume paused tasks and lanes, and notify the workers.
--
-- KEYS[1]    paused: task or lane -> until when (ms since 1970), 0 for until it is resumed
-- KEYS[2]    control
-- ARGV[1..]  tasks and lanes: 'task:' or 'lane:' and the name
--
-- Returns how many of them were paused. Cost O(tasks and lanes).
--
-- uses: check_keys control
-- flags: allow-oom

local paused, control = KEYS[1], KEYS[2]
check_stream(control)

local ended = redis.call('HDEL', paused, unpack(ARGV))
-- Even if none was paused: a worker may have missed an earlier message.
send_to_workers(control, 'pause')
return ended
