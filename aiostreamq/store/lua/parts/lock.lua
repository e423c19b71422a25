-- lock.lua: who holds a lock, and the line of those that wait for it.
--
-- `lock:<name>` is a hash. The holder has `owner`, `fence`, `since`, `lease`, `until` and `who`. `last` is
-- the token that was released last, `left` the one that gave up waiting last. A waiter has `@<token>`: until
-- when its place is kept. `lock_line:<name>` is a sorted set: token -> microseconds since 1970.
-- A token is the inbox of its process, a dot and a number. All times are by Redis's clock.
--
-- uses: check_keys time

local load_lock, hold_lock, first_in_line, stay_for_lock, leave_lock_line, call_next, keep_lock

do
  -- Ms. A waiter calls three times within the first. Once it is its turn it must come within the second,
  -- or the next waiter may go.
  local PLACE_MS, CALLED_MS = 15000, 2000
  local LOOK_MS = PLACE_MS / 3

  -- Ms. For how long `last` and `left` are known, and a call in an inbox that is not read.
  local KNOWN_MS = 60000

  local function whole(number)
    return string.format('%.0f', number)
  end

  -- Raises if a key has another type, before the first write.
  load_lock = function(key, line)
    local now, time = read_clock()
    local found = redis.call('HMGET', key, 'owner', 'fence', 'lease', 'until', 'last', 'left')
    check_sorted_set(line)
    local lock = {
      key = key, line = line, now = now, now_us = tonumber(time[1]) * 1000000 + tonumber(time[2]),
      owner = found[1], fence = tonumber(found[2]), last = found[5], left = found[6], until_ms = 0,
    }
    local lease, until_ms = tonumber(found[3]), tonumber(found[4])
    if lock.owner and lock.fence and lease and until_ms then
      lock.until_ms = until_ms
      if until_ms > now + lease then -- the clock was set back
        lock.until_ms = now + lease
        redis.call('HSET', key, 'until', whole(lock.until_ms))
      end
    end
    lock.is_held = lock.until_ms > now
    return lock
  end

  hold_lock = function(lock, token, fence, lease_ms, who)
    lock.is_held, lock.until_ms = true, lock.now + lease_ms
    redis.call('HSET', lock.key, 'owner', token, 'fence', whole(fence), 'lease', lease_ms,
      'until', whole(lock.until_ms), 'since', whole(lock.now), 'who', who)
  end

  leave_lock_line = function(lock, token)
    redis.call('ZREM', lock.line, token)
    redis.call('HDEL', lock.key, '@' .. token)
  end

  -- Return the first waiter whose place is kept, and for how many ms; nil if there is none.
  first_in_line = function(lock)
    while true do
      local token = redis.call('ZRANGE', lock.line, 0, 0)[1]
      if not token then
        return nil
      end
      local left = (tonumber(redis.call('HGET', lock.key, '@' .. token)) or 0) - lock.now
      if left > PLACE_MS then -- the clock was set back
        left = PLACE_MS
        redis.call('HSET', lock.key, '@' .. token, whole(lock.now + left))
      end
      if left > 0 then
        return token, left
      end
      leave_lock_line(lock, token)
    end
  end

  -- Keep a place in line, or give it back; return after how many ms to look again.
  stay_for_lock = function(lock, token, waited_ms)
    if not redis.call('ZSCORE', lock.line, token) then
      local since = lock.now_us - waited_ms * 1000
      local last = redis.call('ZRANGE', lock.line, -1, -1, 'WITHSCORES')[2]
      if waited_ms == 0 and last then
        since = math.max(since, tonumber(last) + 1)
      end
      redis.call('ZADD', lock.line, whole(since), token)
    end
    redis.call('HSET', lock.key, '@' .. token, whole(lock.now + PLACE_MS))
    local line = redis.call('ZRANGE', lock.line, 0, 1)
    if line[1] == token then
      return lock.is_held and math.min(LOOK_MS, lock.until_ms - lock.now) or 1
    end
    return line[2] == token and CALLED_MS or LOOK_MS
  end

  -- Notify the first waiter: it is its turn.
  call_next = function(lock, prefix)
    local token, left = first_in_line(lock)
    if not token then
      return
    end
    if left > CALLED_MS then
      redis.call('HSET', lock.key, '@' .. token, whole(lock.now + CALLED_MS))
    end
    local inbox = prefix .. 'inbox:' .. string.match(token, '^[^.]*')
    redis.pcall('RPUSH', inbox, ' lock ' .. token)
    redis.pcall('PEXPIRE', inbox, KNOWN_MS)
  end

  -- Let the keys expire after all that they hold.
  keep_lock = function(lock)
    local ms = whole(math.max(KNOWN_MS, lock.until_ms - lock.now + 1000))
    redis.call('PEXPIRE', lock.key, ms)
    redis.call('PEXPIRE', lock.line, ms)
  end
end
