-- declare_limits.lua: note the rules of limits that the code of a release has.
--
-- KEYS[1]    limit_defaults: rule by token
-- KEYS[2]    limit_rules: when a rule was seen first, by token and rule
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  two for each limit: token, rule
--
-- The rule that was seen last for the first time is in force, so that releases that run beside each
-- other in a deploy do not change it again and again. Returns two for each limit that has another rule:
-- token, rule in force. Cost O(limits, and backlogs that wait if a rule changes).
--
-- uses: look_again time

local defaults, rules, prefix = KEYS[1], KEYS[2], ARGV[1]
local now = string.format('%.0f', (read_clock()))
local others = {}

for at = 2, #ARGV, 2 do
  local token, rule = ARGV[at], ARGV[at + 1]
  redis.call('HSETNX', rules, token .. ' ' .. rule, now)
  local current = redis.call('HGET', defaults, token)
  if not current then
    redis.call('HSET', defaults, token, rule)
  elseif current ~= rule then
    local seen = redis.call('HMGET', rules, token .. ' ' .. rule, token .. ' ' .. current)
    if tonumber(seen[1]) > (tonumber(seen[2]) or 0) then
      redis.call('HSET', defaults, token, rule)
      look_again(prefix, token, now)
    else
      others[#others + 1] = token
      others[#others + 1] = current
    end
  end
end
return others
