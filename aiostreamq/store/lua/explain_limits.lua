-- explain_limits.lua: say what the limits of a backlog let pass now. Read-only.
--
-- KEYS[1]  limits: the rules of operators; the other keys are made from tokens
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  name of the backlog
-- ARGV[3]  costs of the job: a number for each limit, with spaces between; empty for 1 each
-- ARGV[4]  id of the job; empty for one that is not there yet
--
-- Returns {now in ms, ahead, is_ready, token, limit, token, limit ...}. ahead: how many jobs of the
-- backlog come before this one; is_ready: 1 if the backlog may be admitted as soon as a worker has
-- a free slot. A limit is {rule in force ('' for none), field of `limits` that has it ('' if code
-- has it), has_room (1 or 0), when it will have room in ms ('' if that is unknown), how many
-- permits are held, how many backlogs wait for it, whether this one does (1 or 0), ids of some jobs
-- that hold permits, until when it is quiet in ms and the id of the job that asked for that ('' if it
-- is not)}. In an order the job whose turn it is holds the only permit.
-- Cost O(limits), about 20 microseconds each.
--
-- uses: limits time

local prefix, name, id = ARGV[1], ARGV[2], ARGV[4]

-- How many jobs are named that hold permits.
local MOST_HOLDERS = 5

local tokens, costs = {}, {}
for token in string.gmatch(name, '[cor]=%S+') do
  tokens[#tokens + 1] = token
end
for cost in string.gmatch(ARGV[3], '%S+') do
  costs[#costs + 1] = tonumber(cost) or 1
end

-- Return the number that a command answers; 0 if the key is something else.
local function counted(...)
  local found = redis.pcall(...)
  return type(found) == 'number' and found or 0
end

-- Return ids of the jobs that have held permits for longest, without those that have left unnoticed.
local function holders_of(token)
  local ids = {}
  local found = redis.pcall('ZRANGE', prefix .. 'permits:' .. token, 0, MOST_HOLDERS - 1)
  for _, member in ipairs(found.err and {} or found) do
    if is_permit_held(prefix, member) then
      ids[#ids + 1] = string.match(member, '^(.+) %d+$')
    end
  end
  return ids
end

-- Say whose turn it is in an order, and whether it may be that of the job.
local function explain_order(token)
  local found = redis.pcall('ZRANGE', prefix .. 'order:' .. token, 0, 0)
  local first = not found.err and found[1]
  local has = not found.err and (not first or first == id)
  return { loaded_limits[token].rule or '', '', has and 1 or 0, '', first and 1 or 0,
    counted('ZCARD', prefix .. 'blocked:' .. token),
    redis.call('ZSCORE', prefix .. 'blocked:' .. token, name) and 1 or 0, { first or nil }, '', '' }
end

local function explain(token, cost, now)
  local limit = loaded_limits[token]
  if limit.is_order then
    return explain_order(token)
  end
  local has, later = limit_has_room(limit, cost, now)
  return {
    limit.rule or '',
    limit.decided_by or '',
    has and 1 or 0,
    not has and later and string.format('%.0f', math.ceil(later)) or '',
    counted('ZCARD', prefix .. 'permits:' .. token),
    counted('ZCARD', prefix .. 'blocked:' .. token),
    redis.call('ZSCORE', prefix .. 'blocked:' .. token, name) and 1 or 0,
    holders_of(token),
    limit.quiet_until and string.format('%.0f', math.ceil(limit.quiet_until)) or '',
    limit.quiet_by or '',
  }
end

local now = read_clock()
local backlog = prefix .. 'backlog:' .. name
local ahead = id ~= '' and redis.call('ZRANK', backlog, id) or redis.call('ZCARD', backlog)
local answer = { now, ahead, redis.call('ZSCORE', prefix .. 'ready', name) and 1 or 0 }
if #tokens > 0 then
  load_limits(prefix, tokens, now)
end
for place, token in ipairs(tokens) do
  answer[#answer + 1] = token
  answer[#answer + 1] = explain(token, costs[place] or 1, now)
end
return answer
