-- append_events.lua: keep what running jobs say, for whoever follows them.
--
-- KEYS[1..]  streams
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  nine for each job:
--              job id
--              stream, an index into KEYS
--              entry: of the delivery that speaks
--              n, the number of that delivery
--              last: the number of the last event that is said here
--              floor: what was said before the event of this number may be dropped
--              keep_ms: how long all of it is kept from now on
--              task: name of the task
--              events: JSON array, or empty to set the time only
--
-- Returns the places (from 1) of those that were refused, because the job belongs
-- to somebody else by now or has ended. An entry gets the id <n>-<last>: so the
-- same said again, after a lost reply, is known, and readers see what they
-- have missed. Cost O(jobs and bytes), about 6 microseconds each; callers send at most 100.
--
-- uses: job

local prefix = ARGV[1]
local refused = {}

for at = 2, #ARGV, 9 do
  local id, stream, entry = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
  local n, last, floor, keep_ms = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  local events = prefix .. 'events:' .. id
  local said = n .. '-' .. last
  -- Refused is also a job whose key is something of a stranger's: the others go on.
  local later = redis.pcall('XRANGE', events, said, '+', 'COUNT', 1)
  if later.err or not is_present(prefix, id, stream, entry) then
    refused[#refused + 1] = (at + 7) / 9
  else
    if ARGV[at + 8] ~= '' and #later == 0 then
      redis.call('XADD', events, 'MINID', n .. '-' .. floor, said,
        't', ARGV[at + 7], 'e', ARGV[at + 8])
      if n ~= '1' then
        -- What earlier deliveries have said: nothing, from the second call on.
        redis.call('XTRIM', events, 'MINID', n .. '-0')
      end
    end
    redis.call('PEXPIRE', events, keep_ms)
  end
end
return refused
