-- quiet_limits.lua: have rates let nothing pass for a time, as APIs have asked jobs for that.
--
-- KEYS[1]    limits: the rules of operators; the other keys are made from tokens
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  four for each rate:
--              token
--              until when, in ms since 1970
--              how many ms were asked for: no quiet is longer from now
--              id of the job that asks
--
-- Returns how many are quiet for longer than before. The later end of two counts, so that a call may be
-- repeated. The next look of a worker refuses the jobs that wait for the rate.
-- Cost O(rates), about 3 microseconds each; callers send at most 250.
--
-- uses: time
-- flags: allow-oom

local prefix, now = ARGV[1], (read_clock())
local changed = 0

for at = 2, #ARGV, 4 do
  local token, span, by = ARGV[at], tonumber(ARGV[at + 2]), ARGV[at + 3]
  local key = prefix .. 'quiet:' .. token
  local until_ms = math.min(tonumber(ARGV[at + 1]), now + span)
  local found = redis.pcall('GET', key)
  local known = type(found) == 'string' and tonumber(string.match(found, '^%d+')) or now
  if until_ms > now and until_ms > math.min(known, now + span) then
    redis.call('SET', key, string.format('%.0f %.0f ', until_ms, span) .. by,
      'PX', string.format('%.0f', math.ceil(until_ms - now)))
    changed = changed + 1
  end
end
return changed
