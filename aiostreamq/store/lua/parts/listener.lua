-- listener.lua: workers that wait for `bell`: see part `permits`.
--
-- uses: permits

-- Forget a worker that is gone. If it has been woken, and may not have looked, or has claimed the
-- next look, wake another.
local function forget_listener(prefix, group, name)
  local bell, claim = prefix .. 'bell', prefix .. 'due_claim'
  if redis.call('EXISTS', bell) == 1 then
    local claimed = redis.pcall('GET', claim)
    if type(claimed) == 'string' and string.match(claimed, '^%S+') == name then
      redis.call('DEL', claim)
      ring(prefix)
    end
    local unheard = redis.pcall('XGROUP', 'DELCONSUMER', bell, group, name)
    if type(unheard) == 'number' and unheard > 0 then
      ring(prefix)
    end
  end
end
