-- settle_and_call.lua: end deliveries, and put the callbacks of their jobs into the lanes.
--
-- Workers use it for a batch in which an end is followed by a callback, and settle.lua for others.
--
-- KEYS and ARGV as those of settle.lua; after them in ARGV
--   five for each callback:
--              place of the delivery whose end it follows, from 1
--              when it is called: success or failure
--              lane
--              mark: 2 if its result is not kept, else 0
--              envelope, JSON
--   how many callbacks these are
--
-- Returns and raises as settle.lua. A callback is put into its lane if this call ends the job: not
-- if the delivery is refused, nor if the call is repeated after a lost reply, nor if the job has
-- ended as cancelled.
-- Cost O(deliveries), about 6 microseconds each, and 12 for each callback.
--
-- uses: after_end callbacks
-- flags: allow-oom
-- then: settle

local callbacks = {}
for _ = 1, tonumber(table.remove(ARGV)) do -- from the end, so that the rest is for settle.lua
  local job, mark, lane = table.remove(ARGV), table.remove(ARGV), table.remove(ARGV)
  local when, place = table.remove(ARGV), table.remove(ARGV)
  callbacks[tonumber(place)] = { when = when, lane = lane, mark = mark, job = job }
end

after_end = function(place, id, n, entry)
  if callbacks[place] then
    call_back(ARGV[2], id, n, entry, callbacks[place])
  end
end
