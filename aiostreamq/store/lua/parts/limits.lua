-- limits.lua: the rules of limits, and how much room each has now.
--
-- `limits` has the rules that an operator has set, by token: 'c=sync:acme', 'c=sync:*' or
-- 'c=sync'; the most exact one decides. `limit_defaults` has those of the code. A rule is '<most>' for a
-- concurrency and '<count> <period_ms> <burst>' for a rate, and after that may come who set it.
-- `rate:<token>` is when all that was charged is paid off, in ms since 1970 (GCRA's theoretical arrival
-- time). `quiet:<token>` exists while nothing passes, as an API has asked a job for that: '<until, in ms
-- since 1970> <ms that were asked for> <job id>'.
-- An order has no rule in this sense: whose turn it is depends on the job, see part `turns`.

local loaded_limits = {} -- by token: its rule, and its state in this call

-- The letter of tokens of a concurrency.
local CONCURRENCY = string.byte('c')

-- Rounding of times that are added up, in ms.
local ROUNDING = 0.001

local function parse_rule(token, text)
  if string.byte(token) == CONCURRENCY then
    local most = tonumber(string.match(text, '^%d+'))
    return most and { most = most }
  end
  local count, period, burst = string.match(text, '^(%d+) (%d+) (%d+)')
  if not count then
    return nil
  elseif tonumber(count) == 0 then
    return { most = 0 }
  end
  local interval = tonumber(period) / tonumber(count)
  return { interval = interval, burst = tonumber(burst), span = interval * tonumber(burst) }
end

-- Ms until a limit is looked at again of which another program has overwritten a key.
local LATER_MS = 60000

-- Note that a key of a limit is not of its type: nothing passes until that is repaired.
local function refuse_all(limit, key, refusal)
  limit.most, limit.interval, limit.trouble = nil, nil, tostring(refusal.err) .. ': key ' .. key
end

-- Load until when a rate is quiet. The clock may have been set back: no quiet is longer than was asked
-- for.
local function load_quiet(prefix, limit, now)
  local key = prefix .. 'quiet:' .. limit.token
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then
    refuse_all(limit, key, found)
    return
  end
  local until_ms, span, by = string.match(found or '', '^(%d+) (%d+) (.*)$')
  if until_ms and tonumber(until_ms) > now then
    limit.quiet_until, limit.quiet_span = math.min(tonumber(until_ms), now + tonumber(span)), span
    limit.quiet_by, limit.is_quiet_moved = by, limit.quiet_until < tonumber(until_ms)
  end
end

-- Return the span of a rate as it is written if it is owed something: a job may have cost more than there
-- was room for, up to as much again as the limit ever has. A rule of another span is owed nothing.
local function owed_under(limit)
  return string.format('%.3f', limit.span)
end

-- Load what is charged or held under a limit.
local function load_state(prefix, limit, now)
  if limit.most then
    local permits = prefix .. 'permits:' .. limit.token
    limit.given, limit.held = {}, redis.pcall('ZCARD', permits)
    if type(limit.held) == 'table' then
      refuse_all(limit, permits, limit.held)
    end
  elseif limit.interval then
    local rate = prefix .. 'rate:' .. limit.token
    local paid_off = redis.pcall('GET', rate)
    if type(paid_off) == 'table' then
      refuse_all(limit, rate, paid_off)
    end
    if limit.interval then
      local at, owed = string.match(paid_off or '', '^(%S+) ?(%S*)$')
      at = tonumber(at) or 0
      -- The clock may have been set back: no wait is longer than the rule's own can be. The result is
      -- saved, or the next look would find the same again.
      local latest = now + (owed ~= '' and owed == owed_under(limit) and 2 or 1) * limit.span
      limit.is_charged, limit.paid_off = at > latest, math.max(now, math.min(at, latest))
      load_quiet(prefix, limit, now)
    end
  end
end

-- Load the rules of some tokens, and what is charged or held.
local function load_some(prefix, tokens, now)
  local fields, names = {}, {}
  for place, token in ipairs(tokens) do
    local name = string.match(token, '^[^:]*')
    fields[2 * place - 1], fields[2 * place], names[place] = token, name .. ':*', name
  end
  local exact = redis.pcall('HMGET', prefix .. 'limits', unpack(fields))
  local own = redis.pcall('HMGET', prefix .. 'limits', unpack(names))
  local default = redis.pcall('HMGET', prefix .. 'limit_defaults', unpack(names))
  for place, token in ipairs(tokens) do
    local set = exact[2 * place - 1] and token or exact[2 * place] and names[place] .. ':*'
      or own[place] and names[place]
    local text = exact[2 * place - 1] or exact[2 * place] or own[place] or default[place]
    local limit = text and parse_rule(token, text) or {}
    limit.token, limit.rule, limit.decided_by = token, text, set
    limit.is_order = string.sub(token, 1, 2) == 'o='
    if exact.err then
      refuse_all(limit, prefix .. 'limits', exact)
    elseif default.err then
      refuse_all(limit, prefix .. 'limit_defaults', default)
    end
    load_state(prefix, limit, now)
    loaded_limits[token] = limit
  end
end

-- How many tokens are loaded in one step: Lua passes no more than 8,000 arguments.
local MOST_AT_ONCE = 1000

-- Load the rules of tokens, and what is charged or held. A limit without a rule lets all pass.
local function load_limits(prefix, tokens, now)
  for from = 1, #tokens, MOST_AT_ONCE do
    local last = math.min(#tokens, from + MOST_AT_ONCE - 1)
    load_some(prefix, { unpack(tokens, from, last) }, now)
  end
end

-- Whether a permit's job is still with a worker, in the delivery that holds the permit.
local function is_permit_held(prefix, member)
  local id, n = string.match(member, '^(.+) (%d+)$')
  local known = id and redis.pcall('HMGET', prefix .. 'job:' .. id, 'e', 's') or {}
  if not known[1] or known[2] ~= 'admitted' then
    return false
  end
  local found = redis.pcall('XRANGE', prefix .. 'stream:admitted', known[1], known[1])[1]
  return found and found[2][2] == id and found[2][4] == n
end

-- Whether a limit has room for a cost; if not, also when it will have, nil if that is unknown.
local function limit_has_room(limit, cost, now)
  if limit.most then
    return limit.held < limit.most
  elseif limit.interval then
    local wait = limit.paid_off + math.min(cost, limit.burst) * limit.interval - limit.span - now
    wait = math.max(wait, (limit.quiet_until or now) - now)
    return wait <= ROUNDING, now + wait
  elseif limit.trouble then
    return false, now + LATER_MS
  end
  return true
end
