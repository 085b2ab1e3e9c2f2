-- Jobs from submission to erasure; the only code that changes a job's status.

local LOSSES = 2         -- dead workers before a job is given up
local OUTAGE = 2 / 3     -- of a lease: what is left of one that is renewed six times in it, also when one comes late
local EVENTS = 1000      -- kept of a job, about, the newest
local EVENTS_MS = 3600000  -- kept after its end
local NEWS = {running = 'job.started', succeeded = 'job.succeeded', failed = 'job.failed', canceled = 'job.canceled'}
local PREVIEW_MS = 10000   -- the newest preview is kept, no other
local FORMAT = 2           -- of a job's hash: since 2 `replay` is what its outputs' have in common

local leave_batch, forget_fit  -- in batches.lua and density_models.lua

-- Write an event (its data is JSON) and wake who waits for changes of the job.
local function tell(id, kind, data)
  redis.call('XADD', events(id), 'MAXLEN', '~', EVENTS, '*', 'kind', kind, 'data', data)
  redis.call('PUBLISH', changed(id), kind)
end

-- Enqueue what the job's webhook asks to be told of; of its starts, the first.
local function enqueue_event(id, tenant, status)
  local webhook, attempt = unpack(redis.call('HMGET', job(id), 'webhook', 'attempt'))
  if webhook and NEWS[status] and (status ~= 'running' or attempt == '0') then
    outbox.add(id, tenant, webhook, NEWS[status])
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
  local expires = now + keep_ms
  release(id, tenant)
  count('ended:' .. status)
  redis.call('HSET', job(id), 'finished_at', now, 'expires_at', expires)
  redis.call('ZREM', LEASES, id)
  redis.call('ZADD', EXPIRY, expires, outputs(id))
  redis.call('PEXPIRE', events(id), EVENTS_MS)
  forget_fit(id, tenant)
  if of then leave_batch(of, id, expires) end
end

-- A dead worker ran the job until its lease ended at most, however late somebody notices.
local function requeue(id)
  local until_ms = math.min(now, redis.call('ZSCORE', LEASES, id))
  redis.call('HINCRBY', job(id), 'ran_ms', math.max(0, until_ms - field(id, 'started_at')))
  drop_outputs(id)
  move(id, 'queued')
  redis.call('ZREM', LEASES, id)
  redis.call('HDEL', job(id), 'started_at', 'progress', 'claim', 'lease_ms')
  enqueue(id, unpack(redis.call('HMGET', job(id), 'tenant', 'turn', 'priority', 'created_at')))
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
  local status, tenant, of, losses, lent =
    unpack(redis.call('HMGET', job(id), 'status', 'tenant', 'batch', 'losses', 'lent'))
  if status == 'running' or status == 'canceling' or losses or lent then erase_again(outputs(id)) end
  redis.call('ZREM', status_of(tenant, status), id)
  release(id, tenant)
  forget_fit(id, tenant)
  if of then leave_batch(of, id, now) end
  redis.call('DEL', job(id), events(id), preview(id), watched(id))
  redis.call('ZREM', jobs_of(tenant), id)
  for _, set in ipairs({STARTS, LEASES, QUARANTINE}) do redis.call('ZREM', set, id) end
  redis.call('PUBLISH', changed(id), 'erased')
end

function expire.jobs(id, keep_ms)
  local tenant = field(id, 'tenant')
  if not tenant then return end
  redis.call('SET', gone(outputs(id)), tenant, 'PX', keep_ms)
  erase(id)
end

-- The hash, and of a job that runs for how long its worker has not renewed the lease.
local function fields(id)
  local all, ends = redis.call('HGETALL', job(id)), redis.call('ZSCORE', LEASES, id)
  local lease_ms = ends and field(id, 'lease_ms')
  if lease_ms then
    table.insert(all, 'silent_ms')
    table.insert(all, string.format('%.0f', now - ends + lease_ms))
  end
  return all
end

local function overdue() return redis.call('ZRANGEBYSCORE', STARTS, '-inf', now, 'LIMIT', 0, BATCH) end

local function fail_late(id)
  settle(id, 'failed')
  redis.call('HSET', job(id), 'result', LATE)
end

-- Whoever looks at a job that was not started in time finds it failed: a read, which may not write, has its caller call
-- `fail_late` and read again.
local function look(id)
  local latest = redis.call('ZSCORE', STARTS, id)
  if not latest or tonumber(latest) > now then return end
  if memo.may_write then fail_late(id) else table.insert(memo.late, id) end
end

function frees.fail_late(...)
  for _, id in ipairs({...}) do look(id) end
end

-- Some of those that nobody looks at, with each call that may write.
local function fail_overdue()
  for _, id in ipairs(overdue()) do fail_late(id) end
end

-- The id, the fields, and for a waiting job its place: its position and, once known, the milliseconds until its start.
local function view(id)
  look(id)
  return {id, fields(id), place(id)}
end

-- A view for where there are many of them: without what a run's outputs have in common, which is long.
local function brief(id)
  local whole, kept = view(id), {}
  for i = 1, #whole[2], 2 do
    if whole[2][i] ~= 'replay' then
      table.insert(kept, whole[2][i])
      table.insert(kept, whole[2][i + 1])
    end
  end
  return {id, kept, whole[3]}
end

-- Whether the tenant or the service has no room for one more waiting job.
local function full(tenant, max_queued)
  local queued = limit(tenant, 'queued')
  if queued and redis.call('ZCARD', status_of(tenant, 'queued')) >= queued then return 'tenant' end
  local waiting = redis.call('ZCARD', QUEUE) + redis.call('ZCARD', HELD)
  return waiting >= tonumber(max_queued) and 'service'
end

-- Queue a new job, whose hash has more fields and values in the end. Answers with its place.
local function add(id, tenant, request, keep_ms, ...)
  local seq, wanted = redis.call('INCR', SEQ), cjson.decode(request)
  local turn = new_turn(wanted.priority)
  redis.call('HSET', job(id), 'id', id, 'format', FORMAT, 'tenant', tenant, 'status', 'queued', 'seq', seq,
    'attempt', 0, 'request', request, 'created_at', now, 'expires_at', now + keep_ms, 'keep_ms', keep_ms,
    'priority', wanted.priority, 'turn', turn, ...)
  redis.call('ZADD', status_of(tenant, 'queued'), seq, id)
  redis.call('ZADD', jobs_of(tenant), seq, id)
  if type(wanted.start_within) == 'number' then
    redis.call('ZADD', STARTS, now + math.floor(1000 * wanted.start_within), id)
  end
  if type(wanted.webhook) == 'table' then redis.call('HSET', job(id), 'webhook', cjson.encode(wanted.webhook)) end
  enqueue(id, tenant, turn, wanted.priority, now)
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
function writes.submit(id, request, keep_ms, max_queued, key, body_hash, keep_key_ms)
  local created = field(id, 'created_at')
  if created then return {'created', created, place(id)} end  -- our own call, sent again after a broken connection
  local first, conflicts = spent(key, body_hash)
  if conflicts and first then return {'conflict'} end
  if first then return {'replayed', reads.get(first)} end
  local refusal = full(TENANT, max_queued)
  if refusal then return {'full', refusal} end
  local more = key == '' and {} or {'idempotency_key', idempotency(TENANT, key)}
  local here = add(id, TENANT, request, keep_ms, unpack(more))
  spend(key, body_hash, id, keep_key_ms)
  return {'created', tostring(now), here}
end

function reads.key_is_spent(key) return redis.call('EXISTS', idempotency(TENANT, key)) end

-- A view; 1 for a job whose outputs are erased, 0 for what the caller does not know of.
function reads.get(id)
  if visible(id) then return view(id) end
  return redis.call('GET', gone(outputs(id))) == TENANT and 1 or 0
end

function reads.glance(id) return visible(id) and brief(id) or 0 end

function reads.find(id) return field(id, 'status') and brief(id) end

function reads.events(id, after)
  if not visible(id) then return {} end
  look(id)
  return redis.call('XRANGE', events(id), '(' .. after, '+', 'COUNT', BATCH)
end

-- Up to `limit` brief views, and the cursor of those that follow, if any do.
local function page(set, before, limit)
  local found = redis.call('ZREVRANGEBYSCORE', set, '(' .. before, '-inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
  local views = {}
  for i = 1, math.min(#found, 2 * limit), 2 do table.insert(views, brief(found[i])) end
  return {views, #found > 2 * limit and found[2 * limit]}
end

-- The caller's jobs, of one status or, with '', of all.
function reads.list(status, before, limit)
  for _, id in ipairs(status == '' and {} or overdue()) do look(id) end
  return page(status == '' and jobs_of(TENANT) or status_of(TENANT, status), before, limit)
end

-- Keep a job in view of operators.
local function set_aside(id) redis.call('ZADD', QUARANTINE, tonumber(field(id, 'seq')) or 0, id) end

-- Somebody cannot read the record; one that has not ended is for a worker to try.
function frees.set_aside(id)
  local status = field(id, 'status')
  if status and #(TRANSITIONS[status] or {}) == 0 then set_aside(id) end
end

function reads.quarantined(before, limit) return page(QUARANTINE, before, limit) end

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

-- Whether the hash has what the functions here reckon with.
local function sound(id)
  if field(id, 'status') ~= 'queued' or not HEAD_START[field(id, 'priority')] then return false end
  local numbers = redis.call('HMGET', job(id), 'seq', 'attempt', 'created_at', 'keep_ms', 'turn')
  for i = 1, 5 do if not tonumber(numbers[i]) then return false end end
  return true
end

-- It would stop every worker that meets it.
local function leave_queue(id)
  redis.call('ZREM', QUEUE, id)
  if redis.call('EXISTS', job(id)) == 1 then set_aside(id) end
end

-- The job that may start next; of those before it, the late ones fail, those without a slot are held, and what is no
-- sound job leaves the queue.
local function next_job()
  for _ = 1, BATCH do
    local id = redis.call('ZRANGE', QUEUE, 0, 0)[1]
    if not id then return nil end
    if not sound(id) then
      leave_queue(id)
    else
      look(id)
      local status, tenant, turn = unpack(redis.call('HMGET', job(id), 'status', 'tenant', 'turn'))
      if status == 'queued' and idle_slots(tenant) > 0 then return id end
      if status == 'queued' then hold(id, tenant, turn) end
    end
  end
  give_hints()
end

-- A worker repeats the token of a claim whose answer it did not get: that job is its own already, and no token has two.
function frees.claim(worker, lease_ms, token)
  redis.call('ZADD', WORKERS, now, worker)
  local claimed = redis.call('GET', claimed_with(token))
  if claimed then
    if field(claimed, 'claim') ~= token or field(claimed, 'status') ~= 'running' then return false end
    redis.call('ZADD', LEASES, now + lease_ms, claimed)
    return fields(claimed)
  end
  local id = next_job()
  if not id then return false end
  move(id, 'running')
  dequeue(id, field(id, 'tenant'))
  keep_promise(id)
  give_hints()
  redis.call('SET', claimed_with(token), id, 'PX', math.max(1, lease_ms))
  redis.call('HINCRBY', job(id), 'attempt', 1)
  redis.call('HSET', job(id), 'started_at', now, 'queue_ms', now - field(id, 'created_at'), 'claim', token,
    'lease_ms', lease_ms)
  redis.call('ZADD', LEASES, now + lease_ms, id)
  return fields(id)
end

function frees.renew(id, attempt, lease_ms)
  local status = current(id, attempt)
  if status then redis.call('ZADD', LEASES, now + lease_ms, id) end
  return status
end

-- `event` is the progress with the trials, which no record needs. Answers too whether previews are asked for.
function writes.progress(id, attempt, progress, event)
  local status = current(id, attempt)
  if status then
    redis.call('HSET', job(id), 'progress', progress)
    tell(id, 'progress', event)
  end
  return status and {status, redis.call('EXISTS', watched(id))}
end

function writes.show(id, attempt, data)
  local status = current(id, attempt)
  if status then
    redis.call('HSET', preview(id), 'shown_at', now, 'data', data)
    redis.call('PEXPIRE', preview(id), PREVIEW_MS)
    redis.call('PUBLISH', changed(id), 'preview')
  end
  return status
end

-- Ask for previews for keep_ms more; answers with the newest, unless it was shown at `seen`.
function frees.preview(id, seen, keep_ms)
  if not visible(id) then return false end
  redis.call('SET', watched(id), 1, 'PX', keep_ms)
  local newest = redis.call('HMGET', preview(id), 'shown_at', 'data')
  return newest[1] and newest[1] ~= seen and newest
end

-- Name the object that says where the run stands; answers with the one that did before.
function writes.savepoint(id, attempt, key)
  if not current(id, attempt) then return false end
  local before = field(id, 'savepoint')
  redis.call('HSET', job(id), 'savepoint', key)
  return before or ''
end

-- From `name` on: the history that the outputs join, if there is one, as `see` takes it.
function frees.finish(id, attempt, status, result, metrics, replay, name, views, keep_ms, most)
  local old = current(id, attempt)
  if not old then return false end
  if old == 'canceling' then status = 'canceled' end
  if status == 'succeeded' then
    took(now - field(id, 'started_at'))
    redis.call('HSET', job(id), 'replay', replay)
    if name then see(field(id, 'tenant'), name, views, false, keep_ms, most) end
    for index = 1, #cjson.decode(result).outputs do tell(id, 'output', cjson.encode({index = index - 1})) end
  end
  settle(id, status)
  redis.call('HSET', job(id), 'metrics', metrics)
  if status ~= 'canceled' then redis.call('HSET', job(id), 'result', result) end
  return status
end

function frees.hand_back(id, attempt)
  local status = current(id, attempt)
  if status == 'running' then requeue(id) end
  if status == 'canceling' then settle(id, 'canceled') end
  return status and field(id, 'status')
end

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

-- A call that comes long after the worker's last one, or that Redis answers late, tells of an outage, in which nobody
-- could renew a lease: it finds nobody dead, the next one does. `seen_ms` is the time of the last call, 0 for the first.
function frees.recover(worker, lost, seen_ms, lease_ms)
  redis.call('ZADD', WORKERS, now, worker)
  redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', now - WORKER_MS)
  local ids = {}
  if tonumber(seen_ms) == 0 or now - seen_ms < OUTAGE * lease_ms then
    ids = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, BATCH)
  end
  for _, id in ipairs(ids) do lose(id, lost) end
  give_hints()
  return {now, ids}
end

-- A new job of a quarantined one's request and tenant; only the first replay finds the job in quarantine.
function writes.replay(id, new, max_queued)
  if field(new, 'status') then return {'created', view(new)} end  -- our own call, sent again after a broken connection
  if not redis.call('ZSCORE', QUARANTINE, id) or tonumber(field(id, 'expires_at')) <= now then
    return {'absent'}
  end
  local tenant, request, keep_ms = unpack(redis.call('HMGET', job(id), 'tenant', 'request', 'keep_ms'))
  local refusal = full(tenant, max_queued)
  if refusal then return {'full', refusal} end
  add(new, tenant, request, keep_ms, 'kind', field(id, 'kind') or 'images')
  redis.call('ZREM', QUARANTINE, id)
  return {'created', view(new)}
end
