-- What workers do with jobs: claim the next one, renew its lease, publish and end it, and recover those of dead workers.

local OUTAGE = 2 / 3     -- of a lease: what is left of one that is renewed six times in it, also when one comes late

-- Whether the hash has what the functions here reckon with.
local function sound(id)
  if field(id, 'status') ~= 'queued' or not HEAD_START[field(id, 'priority')] then return false end
  local numbers = redis.call('HMGET', job(id), 'seq', 'attempt', 'created_at', 'keep_ms', 'turn')
  for i = 1, 5 do if not tonumber(numbers[i]) then return false end end
  return true
end

-- It would stop every worker that meets it.
local function leave_queue(id, model)
  redis.call('ZREM', queue(model), id)
  if redis.call('EXISTS', job(id)) == 1 then set_aside(id) end
end

-- The model's job that may start next, and whether a worker died with it; of those before it, the late ones fail, those without
-- a slot are held, and what is no sound job leaves the queue.
local function next_job(model)
  for _ = 1, BATCH do
    local id = redis.call('ZRANGE', queue(model), 0, 0)[1]
    if not id then return nil end
    if not sound(id) then
      leave_queue(id, model)
    else
      look(id)
      local status, tenant, turn = unpack(redis.call('HMGET', job(id), 'status', 'tenant', 'turn'))
      if status == 'queued' and idle_slots(tenant) > 0 then return id, field(id, 'losses') end
      if status == 'queued' then hold(id, model, tenant, turn) end
    end
  end
  give_hints(model)
end

-- A worker, of one model, repeats the token of a claim whose answer it did not get: that job is its own already, and no token has two.
-- A job that a worker died with is for one that runs nothing else, so that each death is one job's alone; to a worker
-- that is busy the answer is empty then.
function frees.claim(worker, model, lease_ms, token, busy)
  redis.call('ZADD', workers(model), now, worker)
  local claimed = redis.call('GET', claimed_with(token))
  if claimed then
    if field(claimed, 'claim') ~= token or field(claimed, 'status') ~= 'running' then return false end
    redis.call('ZADD', leases(model), now + lease_ms, claimed)
    return fields(claimed)
  end
  local id, losses = next_job(model)
  if not id then return false end
  if losses and busy == '1' then return {} end
  move(id, 'running')
  dequeue(id, model, field(id, 'tenant'))
  keep_promise(id, model)
  give_hints(model)
  redis.call('SET', claimed_with(token), id, 'PX', math.max(1, lease_ms))
  redis.call('HINCRBY', job(id), 'attempt', 1)
  redis.call('HSET', job(id), 'started_at', now, 'queue_ms', now - field(id, 'created_at'), 'claim', token,
    'lease_ms', lease_ms, 'worker', worker)
  redis.call('ZADD', leases(model), now + lease_ms, id)
  return fields(id)
end

local function count_all(model, counts)
  for what, number in pairs(cjson.decode(counts)) do count(model, what, number) end
end

function frees.renew(id, attempt, lease_ms)
  local status = current(id, attempt)
  if status then redis.call('ZADD', leases(model_of(id)), now + lease_ms, id) end
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

-- Name the object that says where the run stands; answers with the one that did before.
function writes.savepoint(id, attempt, key)
  if not current(id, attempt) then return false end
  local before = field(id, 'savepoint')
  redis.call('HSET', job(id), 'savepoint', key)
  return before or ''
end

-- `counts` is what a job that succeeds adds to the counters. From `name` on: the history that the outputs join, if there
-- is one, as `see` takes it.
function frees.finish(id, attempt, status, result, metrics, counts, replay, name, views, keep_ms, most)
  local old = current(id, attempt)
  if not old then return false end
  if old == 'canceling' then status = 'canceled' end
  if status == 'succeeded' then
    local model = model_of(id)
    took(model, now - field(id, 'started_at'))
    count_all(model, counts)
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

-- Jobs of the model whose lease has run out.
local function lost_jobs(model) return redis.call('ZRANGEBYSCORE', leases(model), '-inf', now, 'LIMIT', 0, BATCH) end

local function forget_silent(model)
  local silent = redis.call('ZRANGEBYSCORE', workers(model), '-inf', now - WORKER_MS, 'LIMIT', 0, BATCH)
  for _, worker in ipairs(silent) do
    redis.call('ZREM', workers(model), worker)
    redis.call('ZREM', memory(model), worker)
  end
end

-- A call that comes long after the worker's last one, or that Redis answers late, tells of an outage, in which nobody
-- could renew a lease: it finds nobody dead, the next one does. `seen_ms` is the time of the last call, 0 for the first.
-- `counts` is what the worker adds to its model's counters, `used` the share of its device's memory, '' without one;
-- `adopts` says whether jobs that name no model are its model's.
function frees.recover(worker, model, lost, seen_ms, lease_ms, counts, used, adopts)
  local outlived, ids = tonumber(seen_ms) > 0 and now - seen_ms >= OUTAGE * lease_ms, {}
  know(model)
  redis.call('ZADD', workers(model), now, worker)
  if used ~= '' then redis.call('ZADD', memory(model), used, worker) end
  count_all(model, counts)
  for _, other in ipairs(pools()) do
    forget_silent(other)
    for _, id in ipairs(outlived and {} or lost_jobs(other)) do
      lose(id, lost)
      table.insert(ids, id)
    end
  end
  if adopts == '1' then adopt(model) end
  give_hints(model)
  return {now, ids}
end
