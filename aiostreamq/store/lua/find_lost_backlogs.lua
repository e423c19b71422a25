-- find_lost_backlogs.lua: have workers look again at backlogs that none would look at, as another program
-- has deleted what leads to them.
--
-- KEYS[1]    ready: backlogs by virtual time
-- KEYS[2]    due: limits that backlogs wait for
-- KEYS[3]    held: how many held jobs each lane has
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    1 if the names are those of all backlogs that the queue had when they were sought
-- ARGV[3..]  names of backlogs
--
-- Returns how many of these were lost. If all were, jobs are counted again: backlogs that have come
-- since would be in `ready`. Cost O(backlogs and their limits), about 5 microseconds each; callers send
-- at most 1,000.
--
-- uses: backlog check_keys

local ready, due, held, prefix = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
check_sorted_set(ready)
check_sorted_set(due)
local is_all = ARGV[2] == '1' and redis.call('EXISTS', ready, due) == 0
local lost = 0
for at = 3, #ARGV do
  local size = size_of(prefix, ARGV[at]) or 0
  if size > 0 then
    lost = lost + (find_again(prefix, ARGV[at]) and 1 or 0)
    count_held(lane_of_backlog(ARGV[at]), size)
  end
end
if is_all then
  redis.call('DEL', held)
  save_held_counts(prefix)
end
return lost
