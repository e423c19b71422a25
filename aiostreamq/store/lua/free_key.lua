-- free_key.lua: free the key of a job that is about to run, for rules that hold it until then.
--
-- KEYS[1]  unique: digest of a key -> id of the job that holds it
-- ARGV[1]  digest of the key
-- ARGV[2]  id of the job
--
-- Returns 1, or 0 if the job does not hold the key (any more). Cost O(1).
--
-- flags: allow-oom

local unique, digest, id = KEYS[1], ARGV[1], ARGV[2]

if redis.call('HGET', unique, digest) ~= id then
  return 0
end
return redis.call('HDEL', unique, digest)
