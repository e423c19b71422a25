-- append_events.lua: store events of running jobs for their followers.
--
-- KEYS[1..]  streams
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  nine for each job:
--              job id
--              stream, an index into KEYS
--              entry of the delivery that has the events
--              n, the number of that delivery
--              last: the number of the last event in this call
--              floor: events before this number may be dropped
--              keep_ms: how long all events are kept from now on
--              task: name of the task
--              events: JSON array, or empty to set the time only
--
-- Returns the places (from 1) of the jobs that are refused: the job now belongs to another worker,
-- or has ended. An entry gets the id <n>-<last>. So events that come again after a lost reply are
-- recognized, and readers see what they have missed.
-- Cost O(jobs and bytes), about 6 microseconds each; callers send at most 100.
--
-- uses: job

local prefix = ARGV[1]
local refused = {}

for at = 2, #ARGV, 9 do
  local id, stream, entry = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
  local n, last, floor, keep_ms = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  local events = prefix .. 'events:' .. id
  local event_id = n .. '-' .. last
  -- If another program has overwritten the key, only this job is refused.
  local later = redis.pcall('XRANGE', events, event_id, '+', 'COUNT', 1)
  if later.err or not is_present(prefix, id, stream, entry) then
    refused[#refused + 1] = (at + 7) / 9
  else
    if ARGV[at + 8] ~= '' and #later == 0 then
      redis.call('XADD', events, 'MINID', n .. '-' .. floor, event_id,
        't', ARGV[at + 7], 'e', ARGV[at + 8])
      if n ~= '1' then
        -- Events of earlier deliveries: there are none from the second call on.
        redis.call('XTRIM', events, 'MINID', n .. '-0')
      end
    end
    redis.call('PEXPIRE', events, keep_ms)
  end
end
return refused
