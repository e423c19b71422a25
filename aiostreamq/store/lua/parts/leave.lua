-- leave.lua: takes a delivery from its worker. Only this part acknowledges entries.
--
-- An entry belongs to one worker for ever, and XACK answers 1 for it only once. This is the fence:
-- any later step finds that the delivery has left its worker.

-- Take a delivery from its worker. Return 1, or 0 if it has left before. Raises if Redis refuses:
-- then the worker still has the delivery.
local function leave(stream, group, entry)
  return redis.call('XACK', stream, group, entry)
end

-- The same, but return the error if Redis refuses.
local function try_to_leave(stream, group, entry)
  return redis.pcall('XACK', stream, group, entry)
end
