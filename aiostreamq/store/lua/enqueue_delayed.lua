-- enqueue_delayed.lua: keep jobs until they are due, each id once.
--
-- KEYS[1]    delayed: job id by due time in ms
-- KEYS[2]    control
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    inbox of the caller, notified when jobs with mark 1 end
-- ARGV[3..]  five for each job:
--              id
--              lane
--              mark: 0 no waiter yet, 1 the caller waits, 2 no result is kept
--              due: '+' and ms from now, or ms since 1970
--              envelope, JSON
--
-- Returns the places (from 1) of the jobs whose id was taken; these are not changed. Wakes the
-- workers if a job is due before all others.
-- Cost O(jobs log delayed), about 6 microseconds each; callers send at most 500.
--
-- uses: delayed put_new time

local delayed, control = KEYS[1], KEYS[2]
local prefix, inbox = ARGV[1], ARGV[2]
local now = read_clock()
local first = first_due(delayed)
local taken = {}

for at = 3, #ARGV, 5 do
  local id, lane, mark, due = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local job = prefix .. 'job:' .. id
  if is_taken(job, prefix .. 'result:' .. id) then
    taken[#taken + 1] = (at + 2) / 5
  else
    local at_ms = tonumber(due)
    if string.sub(due, 1, 1) == '+' then
      at_ms = now + at_ms
    end
    delay_new(delayed, at_ms, lane, job, id, mark, inbox, ARGV[at + 4])
  end
end

wake_if_earlier(control, first)
return taken
