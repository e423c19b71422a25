-- enqueue_held.lua: put jobs into the backlogs of their limits, each id once.
--
-- KEYS[1]    ready: backlogs by virtual time
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    inbox of the caller, notified when jobs with mark 1 end
-- ARGV[3..]  five for each job:
--              id
--              mark: 0 no waiter yet, 1 the caller waits, 2 no result is kept
--              name of the backlog
--              costs: a number for each limit, with spaces between; empty for 1 each
--              envelope, JSON
--
-- Returns the places (from 1) of the jobs whose id was taken; these are not changed. Raises, with the
-- name of the key, if a backlog is not one: then no job is put in.
-- Cost O(jobs), about 8 microseconds each; callers send at most 500.
--
-- uses: backlog check_keys put_new time

local prefix, inbox = ARGV[1], ARGV[2]
check_sorted_set(KEYS[1])
local taken = {}
local last = tonumber(redis.call('GET', prefix .. 'place')) or 0
-- In the order of their arrival, even if the clock of Redis is set back.
local place = math.max(last, read_clock() * PLACES_A_MS)

for at = 5, #ARGV, 5 do
  local size, refusal = size_of(prefix, ARGV[at])
  if not size then
    return redis.error_reply(refusal)
  end
end

for at = 3, #ARGV, 5 do
  local id, mark, name = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local job = prefix .. 'job:' .. id
  if is_taken(job, prefix .. 'result:' .. id) then
    taken[#taken + 1] = (at + 2) / 5
  else
    place = place + 1
    hold(prefix, job, name, place, { id = id, n = '1', job = ARGV[at + 4] }, ARGV[at + 3])
    if mark == '1' then
      redis.call('HSET', job, 'w', inbox)
    elseif mark == '2' then
      redis.call('HSET', job, 'k', '0')
    end
  end
end
redis.call('SET', prefix .. 'place', string.format('%.0f', place))
save_held_counts(prefix)
return taken
