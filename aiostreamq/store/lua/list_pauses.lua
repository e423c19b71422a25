-- list_pauses.lua: list what is paused now, and resume what was paused until now.
--
-- KEYS[1]  paused: task or lane -> until when (ms since 1970), 0 for until it is resumed
-- KEYS[2]  control
-- ARGV     none
--
-- Returns {now in ms, task or lane, until, task or lane, until ...}. The workers get a message if
-- anything is resumed. Cost O(what is paused).
--
-- uses: check_keys control time
-- flags: allow-oom

local paused, control = KEYS[1], KEYS[2]
local now = read_clock()
local found, has_ended = { now }, false
check_stream(control)

local pauses = redis.call('HGETALL', paused)
for at = 1, #pauses, 2 do
  local limit = tonumber(pauses[at + 1]) or 0
  if limit > 0 and limit <= now then
    redis.call('HDEL', paused, pauses[at])
    has_ended = true
  else
    found[#found + 1] = pauses[at]
    found[#found + 1] = pauses[at + 1]
  end
end
if has_ended then
  send_to_workers(control, 'pause')
end
return found
