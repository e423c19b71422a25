-- turns.lua: whose turn it is in an order.
--
-- A job that has ended keeps its place if its end was not noticed: an older worker has ended it, or its
-- stream was deleted. So the first of an order is looked up when it keeps another job waiting.
--
-- uses: limits unique

-- Ms until the first of an order is looked up again: as long as it has had its entry, within bounds.
-- Ten thousand orders whose jobs take long are then looked at 170 times a second.
local SOONEST_MS, LATEST_MS = 5000, 60000

-- How many jobs that have ended one look takes out of an order.
local MOST_TAKEN_OUT = 100

-- Return when to look again at the first of an order, in ms since 1970.
local function look_after(prefix, id, now)
  local entry = redis.pcall('HGET', prefix .. 'job:' .. id, 'e')
  local since = tonumber(type(entry) == 'string' and string.match(entry, '^(%d+)-') or nil)
  local waited = since and now - since or LATEST_MS
  return now + math.max(SOONEST_MS, math.min(waited, LATEST_MS))
end

-- Return the first job of an order that has not ended, and when to look again; no job if there is
-- none, or none was found yet.
local function first_of_order(prefix, token, now)
  local order = prefix .. 'order:' .. token
  for _ = 1, MOST_TAKEN_OUT do
    local first = redis.call('ZRANGE', order, 0, 0)[1]
    if not first then
      return nil, now
    elseif holds_key(prefix, first, now) then
      return first, look_after(prefix, first, now)
    end
    redis.call('ZREM', order, first)
  end
  return nil, now
end

-- Whether it is the turn of a job; if not, also when to look again.
local function has_turn(prefix, limit, id, now)
  if limit.first then -- an earlier job of this call was asked for
    return limit.first == id, limit.look_at
  end
  local order = prefix .. 'order:' .. limit.token
  local found = redis.pcall('ZRANGE', order, 0, 0)
  if found.err then
    limit.trouble = tostring(found.err) .. ': key ' .. order
    return false, now + LATER_MS
  end
  limit.first, limit.look_at = found[1], now + SOONEST_MS
  if not limit.first then -- another program has deleted the order
    redis.call('ZADD', order, 0, id)
    limit.first = id
  elseif limit.first ~= id then
    limit.first, limit.look_at = first_of_order(prefix, limit.token, now)
  end
  return limit.first == id, limit.look_at
end
