-- list_pauses.lua: what is paused now. What was to be so until now goes on.
--
-- KEYS[1]  paused: what waits -> until when (ms since 1970), 0 for until it is resumed
-- KEYS[2]  control
-- ARGV     none
--
-- Returns {now in ms, what, until, what, until ...}. The workers are told where something
-- goes on. Cost O(what is paused).
--
-- uses: check control time
-- flags: allow-oom

local paused, control = KEYS[1], KEYS[2]
local now = read_clock()
local found, has_ended = { now }, false
check_stream(control)

local told = redis.call('HGETALL', paused)
for at = 1, #told, 2 do
  local limit = tonumber(told[at + 1]) or 0
  if limit > 0 and limit <= now then
    redis.call('HDEL', paused, told[at])
    has_ended = true
  else
    found[#found + 1] = told[at]
    found[#found + 1] = told[at + 1]
  end
end
if has_ended then
  send_to_workers(control, 'pause')
end
return found
