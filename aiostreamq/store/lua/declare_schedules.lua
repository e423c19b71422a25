-- declare_schedules.lua: record the schedules that the code of a worker declares.
--
-- KEYS[1]    schedules: definition, JSON, by name
-- KEYS[2]    schedule_due_code: name of each schedule that code declares, by ms since 1970
-- KEYS[3]    control
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    look: 1 to record only that they are still declared, whatever their definitions are
--            now; 0 to replace the definitions
-- ARGV[3..]  three for each schedule:
--              name
--              definition
--              due: ms since 1970 of the next tick, or empty if there is none
--
-- Returns one number for each:
--   0 it exists
--   1 it is new
--   2 its definition has changed
--   3 the name belongs to a schedule that was made at run time, which stays as it is
--   4 it does not exist (only if look is 1)
-- A schedule that has not changed keeps its tick, which may be overdue. A schedule that has
-- changed, and has already had all the runs that it may have, is over.
-- Cost O(schedules log schedules); callers send at most 200.
--
-- uses: check_keys control schedule time

local schedules, due_names, control = KEYS[1], KEYS[2], KEYS[3]
local prefix, look = ARGV[1], ARGV[2]
local now, time = read_clock()
local rev = new_rev(time)
local SAME, NEW, CHANGED, TAKEN, ABSENT = 0, 1, 2, 3, 4
local answers, has_changed = {}, false

check_sorted_set(due_names)
check_stream(control)

for at = 3, #ARGV, 3 do
  local name, definition, due = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local state = prefix .. 'schedule:' .. name
  local known = redis.call('HGET', schedules, name)
  local answer = SAME
  check_schedule(state)
  if known and not redis.call('HGET', state, 'code') then
    answer = TAKEN
  elseif look == '1' and not known then
    answer = ABSENT
  else
    if look ~= '1' and known ~= definition then
      answer = known and CHANGED or NEW
      has_changed = true
      define(schedules, due_names, name, state, definition, rev, due)
    end
    redis.call('HSET', state, 'code', '1', 'seen', now)
  end
  answers[#answers + 1] = answer
end

if has_changed then
  send_to_workers(control, 'schedule')
end
return answers
