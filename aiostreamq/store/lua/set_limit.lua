-- set_limit.lua: set the rule of a limit in place of the one of the code, or take it back.
--
-- KEYS[1]  limits: rules that operators have set, by token
-- KEYS[2]  limit_defaults: rules of the code, by token without a value
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  rule, empty to take it back
-- ARGV[3]  who sets it
-- ARGV[4..]  tokens: 'c=sync:acme', 'c=sync:*' or 'c=sync'
--
-- A rule is stored as '<rule> v<version> <ms since 1970> <who>'. Each change has a higher version,
-- which the field `version` counts. The workers look again at what waits for the limit.
-- Returns the version for each token: 0 if there is nothing to take back; if the rule of the same
-- operator is this one already, the version that it has; -1 if the code has only a limit of the
-- other kind under the name, and -2 if only an order, so that the rule would concern no job.
-- Cost O(limits that backlogs wait for) if the rule is not for one value, about 1 microsecond each.
--
-- uses: look_again time

local limits, defaults, prefix, rule, who = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local now = string.format('%.0f', (read_clock()))
redis.call('ZCARD', prefix .. 'due') -- raises before the first write if it is something else

-- Return the answer if the code has only something else under the name of a token, else nil.
local function other_kind(token)
  local name = string.match(token, '^[^:]*')
  local bare = string.sub(name, 3)
  local other = (string.sub(name, 1, 2) == 'c=' and 'r=' or 'c=') .. bare
  local known = redis.call('HMGET', defaults, name, other, 'o=' .. bare)
  return not known[1] and (known[2] and -1 or known[3] and -2) or nil
end

local function set(token)
  local refusal = other_kind(token)
  if refusal then
    return refusal
  end
  local known = redis.call('HGET', limits, token)
  local current, version, _, setter = string.match(known or '', '^(.-) v(%d+) (%d+) (.*)$')
  if current == rule and setter == who then
    return tonumber(version)
  end
  version = redis.call('HINCRBY', limits, 'version', 1)
  redis.call('HSET', limits, token, rule .. ' v' .. version .. ' ' .. now .. ' ' .. who)
  look_again(prefix, token, now)
  return version
end

local function clear(token)
  if redis.call('HDEL', limits, token) == 0 then
    return 0
  end
  local version = redis.call('HINCRBY', limits, 'version', 1)
  look_again(prefix, token, now)
  return version
end

local answer = {}
for place = 4, #ARGV do
  answer[#answer + 1] = (rule == '' and clear or set)(ARGV[place])
end
return answer
