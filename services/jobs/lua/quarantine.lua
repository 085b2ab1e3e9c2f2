-- Jobs that two workers died with, or that cannot be read, in view of operators.

local LOSSES = 2         -- dead workers before a job is given up

-- Keep a job in view of operators.
local function set_aside(id) redis.call('ZADD', QUARANTINE, tonumber(field(id, 'seq')) or 0, id) end

-- Somebody cannot read the record; one that has not ended is for a worker to try.
function frees.set_aside(id)
  local status = field(id, 'status')
  if status and #(TRANSITIONS[status] or {}) == 0 then set_aside(id) end
end

function reads.quarantined(before, limit) return page(QUARANTINE, before, limit) end

local function quarantine(id, result)
  if field(id, 'status') == 'canceling' then return settle(id, 'canceled') end
  settle(id, 'failed')
  redis.call('HSET', job(id), 'result', result)
  set_aside(id)
end

-- A worker cannot read the job that it has claimed.
function frees.give_up(id, attempt, result)
  if current(id, attempt) then quarantine(id, result) end
end

local function lose(id, lost)
  local losses = redis.call('HINCRBY', job(id), 'losses', 1)
  if losses < LOSSES and field(id, 'status') ~= 'canceling' then return requeue(id) end
  quarantine(id, lost)
end

-- A new job of a quarantined one's request and tenant; only the first replay finds the job in quarantine.
function writes.replay(id, new, max_queued, traceparent)
  if field(new, 'status') then return {'created', view(new)} end  -- our own call, sent again after a broken connection
  if not redis.call('ZSCORE', QUARANTINE, id) or tonumber(field(id, 'expires_at')) <= now then
    return {'absent'}
  end
  local tenant, request, keep_ms = unpack(redis.call('HMGET', job(id), 'tenant', 'request', 'keep_ms'))
  local wanted, model = read_request(request)
  local refusal = full(tenant, model, max_queued)
  if refusal then return {'full', refusal} end
  add(new, tenant, request, wanted, keep_ms, traceparent, 'kind', field(id, 'kind') or 'images')
  redis.call('ZREM', QUARANTINE, id)
  return {'created', view(new)}
end
