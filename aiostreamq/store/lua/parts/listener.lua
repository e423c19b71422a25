-- listener.lua: workers that wait for `bell`: see part `permits`.
--
-- uses: permits

-- Forget a worker that is gone. If it has been woken, and may not have looked, wake another.
local function forget_listener(prefix, group, name)
  local bell = prefix .. 'bell'
  if redis.call('EXISTS', bell) == 1 then
    local unheard = redis.pcall('XGROUP', 'DELCONSUMER', bell, group, name)
    if type(unheard) == 'number' and unheard > 0 then
      ring(prefix)
    end
  end
end
