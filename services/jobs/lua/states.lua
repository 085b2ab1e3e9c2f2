-- A job's states: the only code that changes a status, and what goes with it.

local EVENTS = 1000      -- kept of a job, about, the newest
local EVENTS_MS = 3600000  -- kept after its end
local NOTIFIED = {running = 'job.started', succeeded = 'job.succeeded', failed = 'job.failed', canceled = 'job.canceled'}

local leave_batch, forget_fit  -- in batches.lua and density_models.lua

-- Write an event (its data is JSON) and wake who waits for changes of the job.
local function tell(id, kind, data)
  redis.call('XADD', events(id), 'MAXLEN', '~', EVENTS, '*', 'kind', kind, 'data', data)
  redis.call('PUBLISH', changed(id), kind)
end

-- Enqueue what the job's webhook asks to be told of; of its starts, the first.
local function enqueue_event(id, tenant, status)
  local webhook, attempt, traceparent = unpack(redis.call('HMGET', job(id), 'webhook', 'attempt', 'traceparent'))
  if webhook and NOTIFIED[status] and (status ~= 'running' or attempt == '0') then
    outbox.add(id, tenant, webhook, NOTIFIED[status], traceparent)
  end
end

local function move(id, status)
  local old, tenant, seq = unpack(redis.call('HMGET', job(id), 'status', 'tenant', 'seq'))
  local allowed = false
  for _, next in ipairs(TRANSITIONS[old]) do allowed = allowed or next == status end
  if not allowed then error('a job cannot go from ' .. old .. ' to ' .. status) end
  redis.call('ZREM', status_of(tenant, old), id)
  redis.call('ZREM', STARTS, id)
  redis.call('ZADD', status_of(tenant, status), seq, id)
  redis.call('HSET', job(id), 'status', status)
  tell(id, 'status', cjson.encode({status = status}))
  enqueue_event(id, tenant, status)
end

-- Erase what the current attempt has stored, if it has begun: no record is to name it.
local function drop_outputs(id)
  local attempt, losses = unpack(redis.call('HMGET', job(id), 'attempt', 'losses'))
  if attempt ~= '0' then plan(outputs_of(id, attempt), losses) end
end

-- Erase where the run stood, which a next attempt would have gone on from.
local function drop_savepoints(id)
  local attempt, savepoint, losses = unpack(redis.call('HMGET', job(id), 'attempt', 'savepoint', 'losses'))
  if savepoint or tonumber(attempt) > 1 then plan(savepoints(id), losses) end
  redis.call('HDEL', job(id), 'savepoint')
end

local function settle(id, status)
  if field(id, 'status') ~= 'queued' and status ~= 'succeeded' then drop_outputs(id) end
  move(id, status)
  drop_savepoints(id)
  local tenant, keep_ms, of = unpack(redis.call('HMGET', job(id), 'tenant', 'keep_ms', 'batch'))
  local expires, model = now + keep_ms, model_of(id)
  release(id, model, tenant)
  count(model, 'ended:' .. status)
  redis.call('HSET', job(id), 'finished_at', now, 'expires_at', expires)
  redis.call('ZREM', leases(model), id)
  redis.call('ZADD', EXPIRY, expires, outputs(id))
  redis.call('PEXPIRE', events(id), EVENTS_MS)
  forget_fit(id, tenant)
  if of then leave_batch(of, id, expires) end
end

-- A dead worker ran the job until its lease ended at most, however late somebody notices.
local function requeue(id)
  local model = model_of(id)
  local until_ms = math.min(now, redis.call('ZSCORE', leases(model), id))
  redis.call('HINCRBY', job(id), 'ran_ms', math.max(0, until_ms - field(id, 'started_at')))
  drop_outputs(id)
  move(id, 'queued')
  redis.call('ZREM', leases(model), id)
  redis.call('HDEL', job(id), 'started_at', 'progress', 'claim', 'lease_ms', 'worker')
  redis.call('HSET', job(id), 'queued_at', now)
  enqueue(id, model, unpack(redis.call('HMGET', job(id), 'tenant', 'turn', 'priority', 'created_at')))
  admit(field(id, 'tenant'))
end

-- The status, if `attempt` is the current one of a job that runs.
local function current(id, attempt)
  local status = field(id, 'status')
  if (status == 'running' or status == 'canceling') and field(id, 'attempt') == attempt then return status end
  return false
end

-- The record goes; the caller plans the erasure of the outputs. A worker may be storing some just now: one that runs
-- the job, that was taken for dead, or that varies its picture.
local function erase(id)
  local model = model_of(id)
  local status, tenant, of, losses, lent =
    unpack(redis.call('HMGET', job(id), 'status', 'tenant', 'batch', 'losses', 'lent'))
  if status == 'running' or status == 'canceling' or losses or lent then erase_again(outputs(id)) end
  redis.call('ZREM', status_of(tenant, status), id)
  release(id, model, tenant)
  forget_fit(id, tenant)
  if of then leave_batch(of, id, now) end
  redis.call('DEL', job(id), events(id), preview(id), watched(id))
  redis.call('ZREM', jobs_of(tenant), id)
  for _, set in ipairs({STARTS, leases(model), QUARANTINE}) do redis.call('ZREM', set, id) end
  redis.call('PUBLISH', changed(id), 'erased')
end

function expire.jobs(id, keep_ms)
  local tenant = field(id, 'tenant')
  if not tenant then return end
  redis.call('SET', gone(outputs(id)), tenant, 'PX', keep_ms)
  erase(id)
end
