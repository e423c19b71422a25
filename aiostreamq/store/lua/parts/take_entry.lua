-- take_entry.lua: takes deliveries from workers, to do something else with their jobs.
--
-- uses: ending entry leave permits

-- Take a delivery from its worker, and its entry out of its stream. Return the fields and values of
-- the entry, without its permits, which are returned; or nil if the delivery has left before or the
-- entry was deleted; and whether the job has ended, because it was cancelled. are_cancelled: the earlier answer of are_any_cancelled.
local function take_back(prefix, stream, group, entry, are_cancelled)
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if leave(stream, group, entry) ~= 1 or not found then
    return nil
  end
  redis.call('XDEL', stream, entry)
  local values = found[2]
  local tokens = #values >= NEXT_FIELD and take_tokens(values)
  if tokens then
    return_permits(prefix, tokens, values[ID], values[N])
  end
  return values, are_cancelled and values[1] == 'id'
    and has_been_cancelled(prefix, values[ID], stream, entry, values[ENVELOPE])
end
