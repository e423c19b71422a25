-- list_limits.lua: list the rules of limits, and how much each holds and has waiting. Read-only.
--
-- KEYS[1]  limits: rules that operators have set, by token
-- KEYS[2]  limit_defaults: rules of the code, by token without a value
-- KEYS[3]  due: tokens of limits that backlogs wait for
-- KEYS[4]  stream of admitted jobs
-- ARGV[1]  prefix of the queue's keys
--
-- Returns {limits, limit_defaults, waiting, looked_at, limits with waiting backlogs, holding,
-- looked_at, admitted jobs, quiets}. waiting: for tokens without a value, how many backlogs wait; counted for
-- as many tokens as were looked at, which are taken by chance if there are many. holding: how many
-- jobs hold permits, likewise for the oldest admitted jobs. quiets: for tokens without a value, until
-- when (ms since 1970) the last of those that were looked at is quiet. All three are tokens and numbers
-- in turn.
-- Cost O(rules + tokens and jobs that are looked at), some 3 ms at most.

local prefix = ARGV[1]

-- How many tokens and jobs are looked at, and the bytes of envelopes that are read for these.
local MOST_TOKENS, MOST_JOBS, MOST_BYTES, STEP = 1000, 1000, 262144, 8

local function flat(counts)
  local found = {}
  for name, count in pairs(counts) do
    found[#found + 1] = name
    found[#found + 1] = count
  end
  return found
end

local function add(counts, token, more)
  local name = string.match(token, '^[^:]*')
  counts[name] = (counts[name] or 0) + more
end

local quiets = {} -- by token without a value: until when

local function note_quiet(token)
  local found = string.sub(token, 1, 2) == 'r=' and redis.pcall('GET', prefix .. 'quiet:' .. token)
  local until_ms = type(found) == 'string' and tonumber(string.match(found, '^%d+'))
  local name = string.match(token, '^[^:]*')
  if until_ms and until_ms > (quiets[name] or 0) then
    quiets[name] = until_ms
  end
end

local function count_waiting()
  local counts, tokens = {}, redis.call('ZRANDMEMBER', KEYS[3], MOST_TOKENS)
  for _, token in ipairs(tokens) do
    add(counts, token, redis.call('ZCARD', prefix .. 'blocked:' .. token))
    note_quiet(token)
  end
  return flat(counts), #tokens
end

local function tokens_in(fields)
  for at = 1, #fields - 1, 2 do
    if fields[at] == 'l' then
      return fields[at + 1]
    end
  end
  return ''
end

-- Read in steps, so that payloads of a megabyte do not become a hundred megabytes.
local function count_holding()
  local counts, seen, bytes, from = {}, 0, 0, '-'
  while seen < MOST_JOBS and bytes < MOST_BYTES do
    local found = redis.call('XRANGE', KEYS[4], from, '+', 'COUNT', STEP)
    for _, entry in ipairs(found) do
      for token in string.gmatch(tokens_in(entry[2]), '[co]=%S+') do
        add(counts, token, 1)
      end
      seen, bytes = seen + 1, bytes + string.len(entry[2][6] or '')
    end
    if #found < STEP then
      break
    end
    from = '(' .. found[#found][1]
  end
  return flat(counts), seen
end

local waiting, tokens = count_waiting()
local holding, jobs = count_holding()
local defaults = redis.call('HGETALL', KEYS[2])
for at = 1, #defaults, 2 do
  note_quiet(defaults[at])
end
return {
  redis.call('HGETALL', KEYS[1]), defaults,
  waiting, tokens, redis.call('ZCARD', KEYS[3]),
  holding, jobs, redis.call('XLEN', KEYS[4]), flat(quiets),
}
