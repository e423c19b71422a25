-- check_limits.lua: look for permits without a job, and limits that stop what they should let pass.
-- Read-only.
--
-- KEYS[1]    limits: the rules of operators; the other keys are made from tokens
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  tokens
--
-- Returns two for each token: how many of its oldest permits are of no job that a worker has; and 1
-- if it has room, backlogs wait for it, and nothing will have a worker look at these, else 0.
-- Cost O(tokens * permits that are looked at), about 5 microseconds each; callers send at most 20.
--
-- uses: limits time

local prefix, now = ARGV[1], (read_clock())

-- How many permits of one limit, and how many ready backlogs are looked at.
local MOST_PERMITS, MOST_READY = 50, 1000

local function strays_of(token)
  local strays = 0
  local permits = redis.pcall('ZRANGE', prefix .. 'permits:' .. token, 0, MOST_PERMITS - 1)
  for _, member in ipairs(permits.err and {} or permits) do
    strays = strays + (is_permit_held(prefix, member) and 0 or 1)
  end
  return strays
end

-- Whether a backlog is ready that will wake the next one when it is admitted or refused. Assumed if
-- there are too many to look.
local function is_any_ready(token)
  local ready = redis.call('ZRANGE', prefix .. 'ready', 0, MOST_READY - 1)
  if #ready == MOST_READY then
    return true
  end
  for _, name in ipairs(ready) do
    if string.find(name .. ' ', ' ' .. token .. ' ', 1, true) then
      return true
    end
  end
  return false
end

local function is_stuck(token)
  if redis.call('EXISTS', prefix .. 'blocked:' .. token) == 0 then
    return false
  end
  local limit = loaded_limits[token]
  if not limit_has_room(limit, 0, now) or is_any_ready(token) then
    return false
  end
  local due = redis.call('ZSCORE', prefix .. 'due', token)
  return not due or due == 'inf'
end

local tokens = { unpack(ARGV, 2) }
if #tokens > 0 then
  load_limits(prefix, tokens, now)
end
local answer = {}
for _, token in ipairs(tokens) do
  answer[#answer + 1] = strays_of(token)
  answer[#answer + 1] = is_stuck(token) and 1 or 0
end
return answer
