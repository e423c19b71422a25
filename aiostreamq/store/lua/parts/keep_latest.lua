-- keep_latest.lua: the job of a key that waits until the one that holds the key has ended.
--
-- It is a delayed job. `unique` has its id as '<digest>:next', beside the job that holds the key.
-- The field y of its hash is '<digest> <ms>': if the key is not free when the job is due, it waits
-- for these ms more.

-- When a job looks for the first time whether its key is free, and how long it waits at most between
-- two looks. Usually the end of the other job makes it due before that: see settle_and_continue.lua.
local FIRST_LOOK_MS, LAST_LOOK_MS = 1000, 10000

-- The field of `unique` that has the job which waits for a key.
local function waiting_field(digest)
  return digest .. ':next'
end

-- Have a new delayed job wait for its key.
local function wait_for_key(unique, digest, job, id)
  redis.call('HSET', job, 'y', digest .. ' ' .. 2 * FIRST_LOOK_MS)
  redis.call('HSET', unique, waiting_field(digest), id)
end

-- Whether a job still waits for its key, and has not run.
local function is_waiting(job)
  local known = redis.pcall('HMGET', job, 'y', 'p', 'a', 'ended')
  return known[1] and known[2] and not known[3] and not known[4]
end
