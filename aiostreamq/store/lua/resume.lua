-- resume.lua: let what is paused go on, and tell the workers.
--
-- KEYS[1]    paused: what waits -> until when (ms since 1970), 0 for until it is resumed
-- KEYS[2]    control
-- ARGV[1..]  what: 'task:' or 'lane:' and its name
--
-- Returns how many of them were paused. Cost O(what).
--
-- uses: check control
-- flags: allow-oom

local paused, control = KEYS[1], KEYS[2]
check_stream(control)

local ended = redis.call('HDEL', paused, unpack(ARGV))
-- Also where none was: somebody may have missed the word of the first time.
send_to_workers(control, 'pause')
return ended
