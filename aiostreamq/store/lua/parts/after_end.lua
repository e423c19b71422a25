-- after_end.lua: what settle.lua does after the end of a job: nothing, unless the script of which it
-- is the second half says otherwise.

-- A function of the place of a delivery, its job id, its number and its entry. A variable, and not a
-- parameter: wrapping settle.lua in a function costs each of its calls a tenth.
local after_end

-- The same after a delivery has left its worker, whatever becomes of its job: of the place of the
-- delivery, its job id and its number.
local after_leave
