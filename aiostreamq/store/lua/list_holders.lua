-- list_holders.lua: list the workers that have deliveries.
--
-- KEYS[1]    workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2..]  streams
-- ARGV[1]    group
-- ARGV[2]    name of the caller, which is left out
--
-- Returns names and beats in turn, '' as the beat of a consumer that is not registered. Read-only.
-- Cost O(streams + consumers with deliveries).

local workers, group, own = KEYS[1], ARGV[1], ARGV[2]
local answer, is_listed = {}, { [own] = true }

for at = 2, #KEYS do
  local summary = redis.pcall('XPENDING', KEYS[at], group)
  if not summary.err and type(summary[4]) == 'table' then
    for _, pair in ipairs(summary[4]) do
      local name = pair[1]
      if not is_listed[name] then
        is_listed[name] = true
        answer[#answer + 1] = name
        answer[#answer + 1] = redis.call('HGET', workers, name) or ''
      end
    end
  end
end
return answer
