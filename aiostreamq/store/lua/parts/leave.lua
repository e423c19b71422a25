-- leave.lua: a part of every script by which a delivery leaves its worker. No other line
-- acknowledges an entry.
--
-- An entry belongs to one worker for ever, and XACK answers 1 only once for it. This is the fence:
-- what comes second finds that the delivery has left.

-- Takes a delivery from its worker. Returns 1; 0 if it has left before; or the error if its stream
-- is something else.
local function leave(stream, group, entry)
  return redis.pcall('XACK', stream, group, entry)
end
