-- room_line.lua: the line of clients that wait for room in a lane: the longest wait goes first.
--
-- `room:<lane>` is a sorted set: client -> the time in ms from which its oldest job waits.
-- `room_calls:<lane>` is another: client -> when it has called last. Redis does not report room, so
-- each client calls again and again. One that stays away for a second has lost its place, and gets
-- it back with its next call, as a call says for how long its oldest job has waited.
--
-- uses: time

-- Ms. Clients call several times as often.
local AWAY_MS = 1000

-- A client may go before another whose wait is longer by no more than this share of its own, and
-- some ms: else clients that began to wait together would take turns job by job.
local SHARE, FEW_MS = 8, 10

-- Return the place of a client in the line of a lane. waited_ms: for how long its oldest job waits.
local function find_place(prefix, lane, client, waited_ms)
  local now = read_clock()
  return { line = prefix .. 'room:' .. lane, calls = prefix .. 'room_calls:' .. lane,
    client = client, now = now, since = now - waited_ms }
end

-- Whether no client has to go first.
local function is_turn(place)
  local line, calls = place.line, place.calls
  if redis.call('EXISTS', line) == 0 then
    return true
  end
  -- Producers may run no other command on sorted sets than ZADD, ZCARD, ZRANGE, ZREM and ZSCORE.
  local latest = string.format('%.0f', place.now - AWAY_MS)
  for _, away in ipairs(redis.call('ZRANGE', calls, '-inf', latest, 'BYSCORE')) do
    redis.call('ZREM', line, away)
    redis.call('ZREM', calls, away)
  end
  local first = redis.call('ZRANGE', line, 0, 0, 'WITHSCORES')
  local slack = (place.now - place.since) / SHARE + FEW_MS
  return not first[1] or first[1] == place.client or place.since <= tonumber(first[2]) + slack
end

-- Clients ahead are counted up to this number.
local MOST_AHEAD = 50

-- Stay in the line; return how many clients are ahead.
local function stay_in_line(place)
  redis.call('ZADD', place.line, place.since, place.client)
  redis.call('ZADD', place.calls, place.now, place.client)
  redis.call('PEXPIRE', place.line, 2 * AWAY_MS)
  redis.call('PEXPIRE', place.calls, 2 * AWAY_MS)
  local ahead = 0
  for _, client in ipairs(redis.call('ZRANGE', place.line, 0, MOST_AHEAD - 1)) do
    if client == place.client then
      break
    end
    ahead = ahead + 1
  end
  return ahead
end

local function leave_line(place)
  if redis.call('ZREM', place.line, place.client) == 1 then
    redis.call('ZREM', place.calls, place.client)
  end
end
