-- settle_and_call.lua: end deliveries, and put the callbacks of their jobs into the lanes.
--
-- Workers use it for a batch in which an end is followed by a callback, and settle.lua for others.
--
-- KEYS[1..]  streams, then the dead letters
-- ARGV[1..7] as those of settle.lua
-- ARGV[8]    how many callbacks follow
-- ARGV[9..]  five for each callback:
--              place of the delivery whose end it follows, from 1
--              when it is called: success or failure
--              lane
--              mark: 2 if its result is not kept, else 0
--              envelope, JSON
--            then seven for each delivery, as those of settle.lua
--
-- Returns and raises as settle.lua. A callback is put into its lane if this call ends the job: not
-- if the delivery is refused, nor if the call is repeated after a lost reply, nor if the job has
-- ended as cancelled.
-- Cost O(deliveries), about 6 microseconds each, and 4 for each callback.
--
-- uses: callbacks settling
-- flags: allow-oom

local FIRST_CALLBACK, VALUES = 9, 5
local first_delivery = FIRST_CALLBACK + VALUES * tonumber(ARGV[8])
local callbacks = {}
for at = FIRST_CALLBACK, first_delivery - 1, VALUES do
  callbacks[tonumber(ARGV[at])] = {
    when = ARGV[at + 1], lane = ARGV[at + 2], mark = ARGV[at + 3], job = ARGV[at + 4],
  }
end

return settling.settle(first_delivery, function(place, id, n, entry)
  if callbacks[place] then
    call_back(ARGV[2], id, n, entry, callbacks[place])
  end
end)
