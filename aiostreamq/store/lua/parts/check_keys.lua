-- check_keys.lua: checks of the types of keys. A part of every script that writes several keys.
--
-- The script checks the keys before its first write. These functions raise if another program has
-- put something else in the place of a key. Raised later, the error would leave half a step done,
-- or lose a job that has left its worker.

local function check_stream(key)
  redis.call('XLEN', key)
end

local function check_sorted_set(key)
  redis.call('ZCARD', key)
end
