-- The job store's operations, each one atomic; the only code that changes a job's status.
-- store.py puts three values before it: TRANSITIONS (status -> allowed next ones), HINT (a Celery message) and LATE
-- (the result of a job that was not started in time).
-- Every key carries the hash tag {rarebit}, so that a cluster keeps them in one slot; times are the server's, in ms.

local P = '{rarebit}:'
local HINTS = '{rarebit}.run'
local DURATIONS = 100    -- of the last jobs, for the estimate
local LOSSES = 2         -- dead workers before a job is given up
local OUTAGE = 2 / 3     -- of a lease: what is left of one, at least, that is renewed every third of it
local WORKER_MS = 60000  -- how long a silent worker still counts
local BATCH = 100
local HISTORY = 500      -- views kept of an exposure key, the newest
local EVENTS = 1000      -- kept of a job, about, the newest
local EVENTS_MS = 3600000  -- kept after its end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function job(id) return P .. 'job:' .. id end
local function upload(id) return P .. 'upload:' .. id end
local function events(id) return P .. 'events:' .. id end
local function gone(prefix) return P .. 'gone:' .. prefix end

-- What expires is a prefix of the object store: storage.job_prefix and storage.upload_prefix.
local function outputs(id) return 'jobs/' .. id .. '/' end
local function picture(id) return 'uploads/' .. id .. '/' end

local function field(id, name) return redis.call('HGET', job(id), name) end

local function push_hint()
  local text = string.gsub(HINT, 'HINT%-ID', 'hint-' .. redis.call('INCR', P .. 'hints'))
  redis.call('LPUSH', HINTS, text)
end

-- Write an event (its data is JSON) and wake who waits for news of the job.
local function tell(id, kind, data)
  redis.call('XADD', events(id), 'MAXLEN', '~', EVENTS, '*', 'kind', kind, 'data', data)
  redis.call('PUBLISH', P .. 'changed:' .. id, kind)
end

local function move(id, status)
  local old = field(id, 'status')
  local allowed = false
  for _, next in ipairs(TRANSITIONS[old]) do allowed = allowed or next == status end
  if not allowed then error('a job cannot go from ' .. old .. ' to ' .. status) end
  redis.call('ZREM', P .. 'status:' .. old, id)
  redis.call('ZREM', P .. 'starts', id)
  redis.call('ZADD', P .. 'status:' .. status, field(id, 'seq'), id)
  redis.call('HSET', job(id), 'status', status)
  tell(id, 'status', cjson.encode({status = status}))
end

-- Erase what attempts have stored and no record names: the outputs of all but `kept`, and where the run stood.
local function sweep(id, kept)
  local attempt, savepoint = unpack(redis.call('HMGET', job(id), 'attempt', 'savepoint'))
  for n = 1, tonumber(attempt) do
    if n ~= kept then redis.call('ZADD', P .. 'expiry', now, outputs(id) .. n .. '/') end
  end
  if savepoint or tonumber(attempt) > 1 then redis.call('ZADD', P .. 'expiry', now, outputs(id) .. 'savepoint/') end
  redis.call('HDEL', job(id), 'savepoint')
end

local function settle(id, status)
  move(id, status)
  sweep(id, status == 'succeeded' and tonumber(field(id, 'attempt')))
  local expires = now + field(id, 'keep_ms')
  redis.call('HSET', job(id), 'finished_at', now, 'expires_at', expires)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('ZADD', P .. 'expiry', expires, outputs(id))
  redis.call('PEXPIRE', events(id), EVENTS_MS)
end

-- A dead worker ran the job until its lease ended at most, however late somebody notices.
local function requeue(id)
  local until_ms = math.min(now, redis.call('ZSCORE', P .. 'leases', id))
  redis.call('HINCRBY', job(id), 'ran_ms', math.max(0, until_ms - field(id, 'started_at')))
  move(id, 'queued')
  redis.call('ZREM', P .. 'leases', id)
  redis.call('HDEL', job(id), 'started_at', 'progress', 'claim')
  push_hint()
end

-- The status, if `attempt` is the current one of a job that runs.
local function current(id, attempt)
  local status = field(id, 'status')
  if (status == 'running' or status == 'canceling') and field(id, 'attempt') == attempt then return status end
  return false
end

local function erase(id)
  local status = field(id, 'status')
  if not status then return end
  redis.call('DEL', job(id), events(id))
  for _, set in ipairs({'jobs', 'status:' .. status, 'starts', 'leases', 'quarantine'}) do redis.call('ZREM', P .. set, id) end
  redis.call('ZREM', P .. 'expiry', outputs(id))
  redis.call('PUBLISH', P .. 'changed:' .. id, 'erased')
end

local function fields(id) return redis.call('HGETALL', job(id)) end

-- The fields, and for a queued job its position, the number of workers and the last jobs' durations.
local function view(id)
  local rank = redis.call('ZRANK', P .. 'status:queued', id)
  if not rank then return {fields(id)} end
  local workers = redis.call('ZCOUNT', P .. 'workers', now - WORKER_MS, '+inf')
  return {fields(id), rank + 1, workers, redis.call('LRANGE', P .. 'durations', 0, -1)}
end

local function exposure(name) return P .. 'exposure:' .. name end          -- output -> view
local function order(name) return P .. 'exposure:' .. name .. ':order' end  -- outputs as they were seen

-- Add views to a history: an output counts once and keeps its place. Judging replaces the view that is there; having
-- an output made, without a judgement, does not.
local function see(name, views, judged)
  for _, new in ipairs(cjson.decode(views)) do
    if judged or new.feedback ~= 'neutral' or redis.call('HEXISTS', exposure(name), new.output) == 0 then
      redis.call('HSET', exposure(name), new.output, cjson.encode(new))
      redis.call('ZADD', order(name), 'NX', redis.call('INCR', P .. 'views'), new.output)
    end
  end
  for _, output in ipairs(redis.call('ZRANGE', order(name), 0, -HISTORY - 1)) do
    redis.call('HDEL', exposure(name), output)
    redis.call('ZREM', order(name), output)
  end
end

-- Whoever looks finds a job that was not started in time failed.
local function fail_late()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'starts', '-inf', now)) do
    settle(id, 'failed')
    redis.call('HSET', job(id), 'result', LATE)
  end
end

local operations = {}

function operations.submit(id, request, keep_ms, max_queued, idempotency_key, body_hash, keep_key_ms)
  if field(id, 'status') then return {'created', id} end  -- our own call, sent again after a broken connection
  local key = P .. 'idempotency:' .. idempotency_key
  if idempotency_key ~= '' then
    local first = redis.call('HMGET', key, 'id', 'body_hash')
    if first[1] then return {first[2] == body_hash and 'replayed' or 'conflict', first[1]} end
  end
  if redis.call('ZCARD', P .. 'status:queued') >= tonumber(max_queued) then return {'full', ''} end
  local seq = redis.call('INCR', P .. 'seq')
  redis.call('HSET', job(id), 'id', id, 'status', 'queued', 'seq', seq, 'attempt', 0, 'request', request,
    'created_at', now, 'expires_at', now + keep_ms, 'keep_ms', keep_ms, 'idempotency_key', idempotency_key)
  redis.call('ZADD', P .. 'status:queued', seq, id)
  redis.call('ZADD', P .. 'jobs', seq, id)
  local start_within = cjson.decode(request).start_within
  if type(start_within) == 'number' then
    redis.call('ZADD', P .. 'starts', now + math.floor(1000 * start_within), id)
  end
  if idempotency_key ~= '' then
    redis.call('HSET', key, 'id', id, 'body_hash', body_hash)
    redis.call('PEXPIRE', key, keep_key_ms)
  end
  push_hint()
  return {'created', id}
end

function operations.key_is_spent(key) return redis.call('EXISTS', P .. 'idempotency:' .. key) end

function operations.get(id)
  if field(id, 'status') then return view(id) end
  return redis.call('EXISTS', gone(outputs(id)))
end

function operations.events(id, after)
  return redis.call('XRANGE', events(id), '(' .. after, '+', 'COUNT', BATCH)
end

-- `set` is `jobs`, `quarantine`, or `status:` and a status.
function operations.list(set, before, limit)
  local views = {}
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', P .. set, '(' .. before, '-inf', 'LIMIT', 0, limit)) do
    table.insert(views, view(id))
  end
  return views
end

function operations.cancel(id)
  local status = field(id, 'status')
  if status == 'queued' then settle(id, 'canceled') end
  if status == 'running' then move(id, 'canceling') end
  return field(id, 'status')
end

-- A worker may be storing outputs of a running job just now: they are swept, like expired ones, after sweep_ms.
function operations.delete(id, sweep_ms)
  local status, key = unpack(redis.call('HMGET', job(id), 'status', 'idempotency_key'))
  if key and key ~= '' then redis.call('DEL', P .. 'idempotency:' .. key) end
  erase(id)
  if status == 'running' or status == 'canceling' then
    redis.call('ZADD', P .. 'expiry', now + sweep_ms, outputs(id))
  end
end

-- A worker repeats the token of a claim whose answer it did not get: that job is its own already, and no token has two.
function operations.claim(worker, lease_ms, token)
  redis.call('ZADD', P .. 'workers', now, worker)
  local claimed = redis.call('GET', P .. 'claim:' .. token)
  if claimed then
    if field(claimed, 'claim') ~= token or field(claimed, 'status') ~= 'running' then return false end
    redis.call('ZADD', P .. 'leases', now + lease_ms, claimed)
    return fields(claimed)
  end
  local id = redis.call('ZRANGE', P .. 'status:queued', 0, 0)[1]
  if not id then return false end
  move(id, 'running')
  redis.call('SET', P .. 'claim:' .. token, id, 'PX', math.max(1, lease_ms))
  redis.call('HINCRBY', job(id), 'attempt', 1)
  redis.call('HSET', job(id), 'started_at', now, 'queue_ms', now - field(id, 'created_at'), 'claim', token)
  redis.call('ZADD', P .. 'leases', now + lease_ms, id)
  return fields(id)
end

function operations.renew(id, attempt, lease_ms)
  local status = current(id, attempt)
  if status then redis.call('ZADD', P .. 'leases', now + lease_ms, id) end
  return status
end

function operations.progress(id, attempt, progress)
  local status = current(id, attempt)
  if status then
    redis.call('HSET', job(id), 'progress', progress)
    tell(id, 'progress', progress)
  end
  return status
end

-- Name the object that says where the run stands; answers with the one that did before.
function operations.savepoint(id, attempt, key)
  if not current(id, attempt) then return false end
  local before = field(id, 'savepoint')
  redis.call('HSET', job(id), 'savepoint', key)
  return before or ''
end

function operations.finish(id, attempt, status, result, metrics, exposure_name, views)
  local old = current(id, attempt)
  if not old then return false end
  if old == 'canceling' then status = 'canceled' end
  if status == 'succeeded' then
    redis.call('LPUSH', P .. 'durations', now - field(id, 'started_at'))
    redis.call('LTRIM', P .. 'durations', 0, DURATIONS - 1)
    if exposure_name then see(exposure_name, views, false) end
    for index = 1, #cjson.decode(result).outputs do tell(id, 'output', cjson.encode({index = index - 1})) end
  end
  settle(id, status)
  if status ~= 'succeeded' then redis.call('ZADD', P .. 'expiry', now, outputs(id) .. attempt .. '/') end
  redis.call('HSET', job(id), 'metrics', metrics)
  if status ~= 'canceled' then redis.call('HSET', job(id), 'result', result) end
  return status
end

function operations.hand_back(id, attempt)
  local status = current(id, attempt)
  if status == 'running' then requeue(id) end
  if status == 'canceling' then settle(id, 'canceled') end
  return status and field(id, 'status')
end

local function lose(id, lost)
  if field(id, 'status') == 'canceling' then return settle(id, 'canceled') end
  if redis.call('HINCRBY', job(id), 'losses', 1) < LOSSES then return requeue(id) end
  settle(id, 'failed')
  redis.call('HSET', job(id), 'result', lost)
  redis.call('ZADD', P .. 'quarantine', field(id, 'seq'), id)
end

-- A call that comes long after the worker's last one, or that Redis answers late, tells of an outage, in which nobody
-- could renew a lease: it finds nobody dead, the next one does. `seen_ms` is the time of the last call, 0 for the first.
function operations.recover(worker, lost, seen_ms, lease_ms)
  redis.call('ZADD', P .. 'workers', now, worker)
  redis.call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', now - WORKER_MS)
  local ids = {}
  if tonumber(seen_ms) == 0 or now - seen_ms < OUTAGE * lease_ms then
    ids = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', now, 'LIMIT', 0, BATCH)
  end
  for _, id in ipairs(ids) do lose(id, lost) end
  if redis.call('LLEN', HINTS) == 0 then
    for _ = 1, math.min(BATCH, redis.call('ZCARD', P .. 'status:queued')) do push_hint() end
  end
  return {now, ids}
end

-- A new job of a quarantined one's request; only the first replay finds the job in quarantine.
function operations.replay(id, new, max_queued)
  if field(new, 'status') then return {'created', new} end  -- our own call, sent again after a broken connection
  if not redis.call('ZSCORE', P .. 'quarantine', id) or tonumber(field(id, 'expires_at')) <= now then
    return {'absent', ''}
  end
  local request, keep_ms = unpack(redis.call('HMGET', job(id), 'request', 'keep_ms'))
  local submitted = operations.submit(new, request, keep_ms, max_queued, '')
  if submitted[1] == 'created' then redis.call('ZREM', P .. 'quarantine', id) end
  return submitted
end

function operations.waiting() return redis.call('ZCARD', P .. 'status:queued') end

function operations.due()
  return redis.call('ZRANGEBYSCORE', P .. 'expiry', '-inf', now, 'LIMIT', 0, BATCH)
end

function operations.bury(prefix, keep_ms)
  local kind, id = string.match(prefix, '^(%l+)/(.+)/$')
  local record = kind == 'jobs' and job(id) or upload(id)
  if redis.call('EXISTS', record) == 1 then redis.call('SET', gone(prefix), 1, 'PX', keep_ms) end
  redis.call('ZREM', P .. 'expiry', prefix)
  if kind == 'jobs' then erase(id) else redis.call('DEL', record) end
end

function operations.add_upload(id, document, keep_ms)
  redis.call('SET', upload(id), document)
  redis.call('ZADD', P .. 'expiry', now + keep_ms, picture(id))
end

function operations.get_upload(id)
  return redis.call('GET', upload(id)) or redis.call('EXISTS', gone(picture(id)))
end

function operations.delete_upload(id)
  redis.call('DEL', upload(id))
  redis.call('ZREM', P .. 'expiry', picture(id))
end

function operations.history(name)
  local seen = redis.call('ZRANGE', order(name), 0, -1)
  if #seen == 0 then return {} end
  return redis.call('HMGET', exposure(name), unpack(seen))
end

function operations.see(name, views) see(name, views, true) end

function operations.forget(name) redis.call('DEL', exposure(name), order(name)) end

fail_late()
return operations[ARGV[1]](unpack(ARGV, 2))
