-- end_quiet.lua: let a rate pass jobs again before its quiet is over.
--
-- KEYS[1]  due: tokens of limits that backlogs wait for
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  token: 'r=ask.model:small' or 'r=ask'; 'r=ask:*' is all values for which backlogs wait
--
-- Returns how many quiets have ended. The workers look again at what waits for the rate.
-- Cost O(1); with ':*' O(limits that backlogs wait for), about 1 microsecond each.
--
-- uses: look_again time

local due, prefix, token = KEYS[1], ARGV[1], ARGV[2]
local now = string.format('%.0f', (read_clock()))
redis.call('ZCARD', due) -- raises before the first write if it is something else

local function end_all(name)
  local ended, cursor = 0, '0'
  repeat
    local found = redis.call('ZSCAN', due, cursor, 'MATCH', name .. ':*', 'COUNT', 1000)
    cursor = found[1]
    for at = 1, #found[2], 2 do
      ended = ended + redis.call('DEL', prefix .. 'quiet:' .. found[2][at])
    end
  until cursor == '0'
  return ended
end

local name = string.match(token, '^(.*):%*$')
local ended = name and end_all(name) or redis.call('DEL', prefix .. 'quiet:' .. token)
if ended > 0 then
  look_again(prefix, token, now)
end
return ended
