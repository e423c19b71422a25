-- record_stats.lua: record how jobs have ended, for reports about the queue.
--
-- KEYS[1]    recent: the latest ends, an entry for each call
-- KEYS[2]    counted: the number of the caller's last call
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    number of this call, different for each call of the caller
-- ARGV[3]    kinds: fields of the counters, and how many jobs have ended so
-- ARGV[4]    codes: for each job the place (from 0) of its kind, two hexadecimal digits
-- ARGV[5]    ids of the jobs, maybe not of all
-- ARGV[6]    waits: as kinds, how long the jobs had waited
--
-- Returns 1, or 0 if this call was made before: a caller makes one call at a time, and repeats it
-- until it has an answer. Separate from settle.lua, so that no job waits for it.
-- Cost O(kinds), some 12 microseconds a call.
--
-- uses: stats

local recent, counted, prefix, number = KEYS[1], KEYS[2], ARGV[1], ARGV[2]

-- The number expires, as its caller may be gone. When it does, the counters of that call have
-- expired too.
if redis.call('SET', counted, number, 'PX', STATS_MS, 'GET') == number then
  return 0
end
count_ends(recent, prefix, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
return 1
