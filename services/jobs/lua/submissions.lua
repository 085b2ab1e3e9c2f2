-- Jobs come and go by their clients: submit, cancel, delete.

local FORMAT = 2           -- of a job's hash: since 2 `replay` is what its outputs' have in common

-- Whether the tenant or the model's queue has no room for one more waiting job.
local function full(tenant, model, max_queued)
  local queued = limit_of(tenant, 'queued')
  if queued and redis.call('ZCARD', status_of(tenant, 'queued')) >= queued then return 'tenant' end
  local count_waiting = redis.call('ZCARD', queue(model)) + redis.call('ZCARD', all_held(model))
  return count_waiting >= tonumber(max_queued) and 'service'
end

-- The request, and its model; one of before there were models names none.
local function read_request(request)
  local wanted = cjson.decode(request)
  return wanted, wanted.model or DEFAULT
end

-- Queue a new job of a request, which is `wanted` once it is read; its hash has more fields and values in the end.
-- Answers with its place. `traceparent`, '' where there is none, names the span that what becomes of the job belongs to.
local function add(id, tenant, request, wanted, keep_ms, traceparent, ...)
  local seq, turn, model = redis.call('INCR', SEQ), new_turn(wanted.priority), wanted.model or DEFAULT
  redis.call('HSET', job(id), 'id', id, 'format', FORMAT, 'tenant', tenant, 'status', 'queued', 'seq', seq,
    'attempt', 0, 'request', request, 'created_at', now, 'expires_at', now + keep_ms, 'keep_ms', keep_ms,
    'priority', wanted.priority, 'turn', turn, 'model', model, ...)
  if traceparent ~= '' then redis.call('HSET', job(id), 'traceparent', traceparent) end
  redis.call('ZADD', status_of(tenant, 'queued'), seq, id)
  redis.call('ZADD', jobs_of(tenant), seq, id)
  if type(wanted.start_within) == 'number' then
    redis.call('ZADD', STARTS, now + math.floor(1000 * wanted.start_within), id)
  end
  if type(wanted.webhook) == 'table' then redis.call('HSET', job(id), 'webhook', cjson.encode(wanted.webhook)) end
  enqueue(id, model, tenant, turn, wanted.priority, now)
  return promise(id)
end

-- What the key was spent on: the id, and whether that was with another body.
local function spent(key, body_hash)
  if key == '' then return nil end
  local first, hash = string.match(redis.call('GET', idempotency(TENANT, key)) or '', '^(%S+) (%S*)$')
  return first, hash ~= body_hash
end

local function spend(key, body_hash, id, keep_key_ms)
  if key == '' then return end
  redis.call('SET', idempotency(TENANT, key), id .. ' ' .. body_hash, 'PX', keep_key_ms)
end

-- A job that is new is as the caller wrote it: the answer has its time and place alone.
function writes.submit(id, request, keep_ms, max_queued, key, body_hash, keep_key_ms, traceparent)
  local created = field(id, 'created_at')
  if created then return {'created', created, place(id)} end  -- our own call, sent again after a broken connection
  local first, conflicts = spent(key, body_hash)
  if conflicts and first then return {'conflict'} end
  if first then return {'replayed', reads.get(first)} end
  local wanted, model = read_request(request)
  local refusal = full(TENANT, model, max_queued)
  if refusal then return {'full', refusal} end
  local more = key == '' and {} or {'idempotency_key', idempotency(TENANT, key)}
  local here = add(id, TENANT, request, wanted, keep_ms, traceparent, unpack(more))
  spend(key, body_hash, id, keep_key_ms)
  return {'created', tostring(now), here}
end

function reads.key_is_spent(key) return redis.call('EXISTS', idempotency(TENANT, key)) end

local function cancel(id)
  look(id)
  local status = field(id, 'status')
  if status == 'queued' then settle(id, 'canceled') end
  if status == 'running' then move(id, 'canceling') end
end

function frees.cancel(id)
  if not visible(id) then return reads.get(id) end
  cancel(id)
  return view(id)
end

function frees.delete(id)
  if not visible(id) then return end
  local key = field(id, 'idempotency_key')
  if key then redis.call('DEL', key) end
  erase(id)
  outbox.forget(id)
  plan(outputs(id))
end
