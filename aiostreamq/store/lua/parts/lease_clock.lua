-- lease_clock.lua: a part of the scripts by which workers renew leases and judge them.
--
-- The lease clock counts ms of watching, not of the day. Each call by any worker raises it by the
-- time since the call before, by at most 1.5 ticks. So an outage of Redis and a clock that is set
-- count for 1.5 ticks and no more, and the clock runs as long as any worker lives, however short
-- each life.
--
-- uses: time

-- Ms. A tick is the time between two looks of one worker: the smaller of this and a part of the
-- shortest lease. Together with the third of a lease that passes between two beats, and the quarter
-- that a worker pauses while Redis is away, 1.5 ticks must leave time to renew the lease.
local LONGEST_TICK, TICKS_A_LEASE = 800, 6

-- Ms. The clock is not written again before it has moved this far: with a thousand workers that
-- saves nearly all writes. The time is not lost, as the next call counts from the last write.
local GRAIN = 50

-- The field of a worker in the hash: the id of the connection on which it reads, or its beat.
local function lease_field(name)
  return 'worker:' .. name
end

local function as_integer(number)
  return string.format('%.0f', number)
end

-- Raise the lease clock. Return its time, the tick, what the caller must write to it (fields and
-- values, maybe none), and when workers were last swept and are next due for a census, both nil at
-- first. Raises if a key has another type, before the first write.
local function raise_lease_clock(leases, alive, lease_ms)
  local time = read_clock()
  local known = redis.call('HMGET', leases, 'now', 'at', 'shortest', 'until', 'swept', 'census')
  local now, at, shortest, expires = tonumber(known[1]), tonumber(known[2]),
    tonumber(known[3]), tonumber(known[4])
  local is_new = not (now and at and shortest and expires)
  if is_new then
    -- Stamps by a clock that is lost mean nothing. The next look stamps all workers again.
    redis.call('DEL', leases, alive)
    now, at, shortest, expires, known = 0, time, lease_ms, 0, {}
  end
  -- The shortest lease holds as long as a worker with it calls, and for one such lease more.
  local is_shortest = lease_ms < shortest or now > expires
    or (lease_ms == shortest and expires - now < lease_ms / 2)
  if is_shortest then
    shortest = lease_ms
  end
  local tick = math.max(1, math.min(LONGEST_TICK, math.floor(shortest / TICKS_A_LEASE)))
  local passed = math.max(0, math.min(time - at, math.floor(1.5 * tick)))
  now = now + passed
  if is_shortest then
    expires = now + lease_ms
  end
  local changes = {}
  if is_new or is_shortest or passed >= GRAIN or time < at then
    changes = { 'now', as_integer(now), 'at', as_integer(time),
      'shortest', as_integer(shortest), 'until', as_integer(expires) }
  end
  return now, tick, changes, tonumber(known[5]), tonumber(known[6])
end

-- Forget the lease of a worker that has nothing left.
local function forget_lease(leases, alive, name)
  redis.call('ZREM', alive, name)
  redis.call('HDEL', leases, lease_field(name))
end
