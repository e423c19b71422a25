-- put_schedule.lua: create or change a schedule, and notify the workers.
--
-- KEYS[1]  schedules: definition, JSON, by name
-- KEYS[2]  schedule_due: name of each schedule that was made at run time, by ms since 1970
-- KEYS[3]  control
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  name
-- ARGV[3]  definition
-- ARGV[4]  due: ms since 1970 of the first tick, or empty if there is none
-- ARGV[5]  replace: 1 to change an existing schedule, 0 to create one
--
-- Returns 1; 0 if the name is taken (or there is nothing to replace); -1 if code declares the
-- schedule. A call that is repeated with the same definition gets the same answer. The counters
-- stay, and so does a pause. A schedule that has already had all the runs that it may have is over.
-- Cost O(log schedules).
--
-- uses: check_keys control schedule time

local schedules, due_names, control = KEYS[1], KEYS[2], KEYS[3]
local name, definition, due = ARGV[2], ARGV[3], ARGV[4]
local state = ARGV[1] .. 'schedule:' .. name
local known = redis.call('HGET', schedules, name)

check_schedule(state)
check_sorted_set(due_names)
check_stream(control)

if known and redis.call('HGET', state, 'code') then
  return -1
end
if ARGV[5] == '1' then
  if not known then
    return 0
  end
elseif known then
  return known == definition and 1 or 0
end

local _, time = read_clock()
define(schedules, due_names, name, state, definition, new_rev(time), due)
send_to_workers(control, 'schedule')
return 1
