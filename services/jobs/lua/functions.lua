-- The operations as functions of the server: store.py has each registered as NAME_operation, by its right.

local RIGHTS = {
  reads = {may_write = false, flags = {'no-writes'}},
  frees = {may_write = true, flags = {'allow-oom'}},
  writes = {may_write = true, flags = {}},
}

local function answer(operation, may_write, args)
  begin(args[1], may_write)
  if may_write then fail_overdue() end
  local answered = operation(unpack(args, 2))
  if #memo.late > 0 then return redis.error_reply('LATE ' .. table.concat(memo.late, ' ')) end
  return answered
end

local function register(name, operation, right)
  redis.register_function{
    function_name = NAME .. '_' .. name,
    callback = function(_, args) return answer(operation, right.may_write, args) end,
    flags = right.flags,
  }
end
