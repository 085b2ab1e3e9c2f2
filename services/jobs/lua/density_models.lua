-- Density models: which a tenant's jobs have had, which workers start with, and which are being fitted.

local MODELS = 200  -- told of a tenant's, the last that were at hand, and of those that are being fitted
local MODELS_MS = 90 * 24 * 3600 * 1000  -- since one of them was at hand

local function remember_model(tenant, name, facts)
  local models, by_use = models_of(tenant), model_order_of(tenant)
  redis.call('HSET', models, name, facts)
  redis.call('ZADD', by_use, now, name)
  for _, old in ipairs(beyond(by_use, MODELS)) do
    redis.call('HDEL', models, old)
    redis.call('ZREM', by_use, old)
  end
  for _, key in ipairs({models, by_use}) do redis.call('PEXPIRE', key, MODELS_MS) end
end

function forget_fit(id, tenant)
  local name = field(id, 'fits')
  if not name then return end
  if redis.call('HGET', fits_of(tenant), name) == id then redis.call('HDEL', fits_of(tenant), name) end
end

-- Whether the job is to fit its model or is at it.
local function fits(id)
  local status = field(id, 'status')
  return status == 'queued' or status == 'running'
end

-- A worker of the model has started: the family of its densities, and what it says of those that it has preloaded.
function frees.serve(model, family, preloaded)
  know(model)
  redis.call('HSET', served(model), 'family', family, 'preloaded', preloaded)
end

-- A job has the density of a text at `key`, or is about to store it: beyond `most`, those go that were used longest ago.
function frees.use_density(key, most)
  redis.call('ZADD', DENSITIES, now, key)
  spare(key .. '/')
  for _, old in ipairs(beyond(DENSITIES, most)) do
    redis.call('ZREM', DENSITIES, old)
    plan(old .. '/', true)
  end
end

-- Somebody is about to store below the prefix of a picture, which may be erased meanwhile.
function frees.lend(prefix)
  local kind, id = string.match(prefix, '^(%l+)/([^/]+)/$')
  local record = kind == 'jobs' and job(id) or kind == 'found' and found_thing(id) or upload(id)
  if redis.call('EXISTS', record) == 1 then redis.call('HSET', record, 'lent', 1) else plan(prefix, true) end
end

function reads.family(model) return redis.call('HGET', served(model), 'family') or '' end

-- Say in the job's record which density it has; with a name, tell its tenant of it.
function writes.name_density(id, attempt, key, name, facts)
  local status = current(id, attempt)
  if not status then return false end
  redis.call('HSET', job(id), 'density', key)
  if name then remember_model(field(id, 'tenant'), name, facts) end
  return status
end

-- What is served, by model, then what the caller's jobs had, and the jobs that fit others.
function reads.density_models()
  local by_model = {}
  for _, model in ipairs(pools()) do
    local family, preloaded = unpack(redis.call('HMGET', served(model), 'family', 'preloaded'))
    if family then table.insert(by_model, {model, family, preloaded}) end
  end
  local names, jobs = redis.call('ZREVRANGE', model_order_of(TENANT), 0, -1), {}
  local some = redis.call('HSCAN', fits_of(TENANT), 0, 'COUNT', MODELS)[2]  -- a full queue may have thousands
  for i = 2, #some, 2 do
    if fits(some[i]) then table.insert(jobs, {some[i], field(some[i], 'request')}) end
  end
  local own = #names > 0 and redis.call('HMGET', models_of(TENANT), unpack(names)) or {}
  return {by_model, own, jobs}
end

-- The job that fits the model: one that is at it, or a new one.
function writes.fit(id, name, request, keep_ms, max_queued, traceparent)
  local other = redis.call('HGET', fits_of(TENANT), name)
  if other and fits(other) then return {'created', other} end
  local wanted, model = read_request(request)
  local refusal = full(TENANT, model, max_queued)
  if refusal then return {'full', refusal} end
  add(id, TENANT, request, wanted, keep_ms, traceparent, 'kind', 'density_model', 'fits', name)
  redis.call('HSET', fits_of(TENANT), name, id)
  return {'created', id}
end
