-- hold.lua: have deliveries wait for room under their limits.
--
-- Workers use it for jobs of limited tasks that hold no permits: they come from a retry, a schedule,
-- another job, a recovered worker, or an enqueue that did not know of the limits.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3..]  four for each delivery:
--              stream, an index into KEYS
--              entry
--              name of the backlog
--              costs: a number for each limit, with spaces between; empty for 1 each
--
-- Returns how many were still the worker's. A job that was held before takes its place in line
-- again. The next delivery has a higher number. A cancelled job ends instead. Raises, with the name of
-- the key, if a backlog is not one: its deliveries are as they were, and the others are held.
-- Cost O(deliveries), about 12 microseconds each; callers send at most 250.
--
-- uses: backlog cancelled check_keys entry job order permits stats take_entry
-- flags: allow-oom

local group, prefix = ARGV[1], ARGV[2]
local held, trouble = 0, nil
local are_cancelled = are_any_cancelled(prefix)
check_stream(KEYS[1])
check_sorted_set(prefix .. 'ready')

local function put(stream, entry, fields, name, costs)
  local job = prefix .. 'job:' .. fields.id
  fields.n = string.format('%d', tonumber(fields.n) + 1)
  if names_entry(prefix, fields.id, stream, entry) or redis.call('EXISTS', job) == 0 then
    local place, earlier = place_of(redis.pcall('HGET', job, 'b'))
    if place then -- it was held before, maybe in another lane than that of its task
      local before = string.gsub(name, '^%S+', lane_of_backlog(earlier), 1)
      name = size_of(prefix, before) and before or name
    end
    hold(prefix, job, name, place or place_of_entry(entry), fields, costs)
    local order, left = order_of(name), earlier and order_of(earlier)
    if left and left ~= order then -- the code has changed
      leave_order(prefix, left, fields.id)
    end
    if order and wake_next(prefix, order) then -- it may be the first that others wait for
      ring(prefix)
    end
  else
    -- The hash of another job cannot keep it, so it runs at once: '-' is without permits.
    redis.call('XADD', KEYS[1], '*', 'id', fields.id, 'n', fields.n, 'job', fields.job, 'l', '-')
  end
end

for at = 3, #ARGV, 4 do
  local stream, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
  local size, refusal = size_of(prefix, ARGV[at + 2])
  if size then
    local values, has_ended = take_back(prefix, stream, group, entry, are_cancelled)
    if values and not has_ended then
      put(stream, entry, fields_by_name(values), ARGV[at + 2], ARGV[at + 3])
    end
    held = held + (values and 1 or 0)
  else
    trouble = refusal
  end
end
save_held_counts(prefix)
count_noted_ends(prefix)
return trouble and redis.error_reply(trouble) or held
