-- order.lua: jobs that run one after the other.
--
-- A token 'o=<name>:<value>' names an order. It is the first token of a backlog. `order:<token>` has
-- the ids of the jobs by their place in line, from their first backlog to their end. The first one
-- may be admitted, and stays the first until it ends: while it runs, is delayed until its next
-- attempt, parked, or on its way from a dead worker. No job comes in before it.
--
-- uses: permits

-- Return the order of the jobs of a backlog, nil if they have none.
local function order_of(name)
  return string.match(name, '^%S+ %S+ (o=%S+)')
end

-- Have a job come into its order at a place, or keep the one that it has; at the end, if the place is
-- before the first. Return the place.
local function join_order(prefix, token, place, id)
  local order = prefix .. 'order:' .. token
  local first = redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')
  if first[1] then
    local own = first[1] == id and first[2] or redis.call('ZSCORE', order, id)
    if own then
      return tonumber(own)
    end
    if place <= tonumber(first[2]) then
      place = tonumber(redis.call('ZRANGE', order, -1, -1, 'WITHSCORES')[2]) + 1
    end
  end
  redis.call('ZADD', order, string.format('%.0f', place), id)
  return place
end

-- Take a job that has ended out of its order. The next one may start. Errors are ignored, as the end
-- of a job does not depend on what waits.
local function leave_order(prefix, token, id)
  if redis.pcall('ZREM', prefix .. 'order:' .. token, id) == 1 and wake_next(prefix, token) then
    ring(prefix)
  end
end

-- The same, if it has one. b: field b of its hash.
local function leave_its_order(prefix, b, id)
  local token = type(b) == 'string' and string.match(b, '^%d+ %S+ %S+ (o=%S+)')
  if token then
    leave_order(prefix, token, id)
  end
end
