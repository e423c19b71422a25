-- time.lua: the time of Redis. Only this part asks for it.

-- Return the time of Redis in ms since 1970, and as Redis gives it, in seconds and microseconds.
local function read_clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), time
end
