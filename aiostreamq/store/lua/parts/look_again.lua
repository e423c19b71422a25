-- look_again.lua: has workers look again at what waits for a limit. A part of every script that
-- changes rules.
--
-- uses: permits

-- Have workers look at once at the backlogs that wait for a limit, with whatever value of its key.
local function look_at_all(due, name, now)
  local cursor = '0'
  repeat
    local found = redis.call('ZSCAN', due, cursor, 'MATCH', name .. '*', 'COUNT', 1000)
    cursor = found[1]
    for at = 1, #found[2], 2 do
      local token = found[2][at]
      if string.match(token, '^[^:]*') == name then
        redis.call('ZADD', due, 'XX', now, token)
      end
    end
  until cursor == '0'
end

-- Have workers look again at what waits for a limit, or for any value of its key. field: 'c=sync:acme'
-- for one value, 'c=sync:*' or 'c=sync' for all.
local function look_again(prefix, field, now)
  local name, value = string.match(field, '^([^:]*):?(.*)$')
  if value ~= '' and value ~= '*' then
    redis.call('ZADD', prefix .. 'due', 'XX', now, field)
  else
    look_at_all(prefix .. 'due', name, now)
  end
  ring(prefix)
end
