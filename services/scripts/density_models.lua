-- Density models: which a tenant's jobs have had, which workers start with, and which are being fitted.

local MODELS = 200  -- told of a tenant's, the last that were at hand

local function models_of(tenant) return P .. 'models:' .. tenant end             -- name -> what a worker says of it
local function model_order_of(tenant) return P .. 'models-order:' .. tenant end  -- names by their last use
local function fits_of(tenant) return P .. 'fits:' .. tenant end                 -- name -> the job that fits it

local function remember_model(tenant, name, facts)
  local models, order = models_of(tenant), model_order_of(tenant)
  redis.call('HSET', models, name, facts)
  redis.call('ZADD', order, now, name)
  for _, old in ipairs(redis.call('ZRANGE', order, 0, -MODELS - 1)) do
    redis.call('HDEL', models, old)
    redis.call('ZREM', order, old)
  end
end

-- Whether the job is to fit the caller's model of this name or is at it; one that has ended is forgotten.
local function is_fitting(name, id)
  local status = field(id, 'status')
  if status == 'queued' or status == 'running' then return true end
  redis.call('HDEL', fits_of(TENANT), name)
  return false
end

-- A worker has started: the family of its densities, and what it says of those that it has preloaded.
function operations.serve(family, preloaded)
  redis.call('HSET', P .. 'served', 'family', family, 'preloaded', preloaded)
end

function operations.family() return redis.call('HGET', P .. 'served', 'family') or '' end

-- Say in the job's record which density it has; with a name, tell its tenant of it.
function operations.name_density(id, attempt, key, name, facts)
  local status = current(id, attempt)
  if not status then return false end
  redis.call('HSET', job(id), 'density', key)
  if name then remember_model(field(id, 'tenant'), name, facts) end
  return status
end

function operations.density_models()
  local family, preloaded = unpack(redis.call('HMGET', P .. 'served', 'family', 'preloaded'))
  local names, fitting = redis.call('ZREVRANGE', model_order_of(TENANT), 0, -1), {}
  local some = redis.call('HSCAN', fits_of(TENANT), 0, 'COUNT', MODELS)[2]  -- a full queue may have thousands
  for i = 1, #some, 2 do
    if is_fitting(some[i], some[i + 1]) then table.insert(fitting, {some[i + 1], field(some[i + 1], 'request')}) end
  end
  local own = #names > 0 and redis.call('HMGET', models_of(TENANT), unpack(names)) or {}
  return {family or '', preloaded or '[]', own, fitting}
end

-- The job that fits the model: one that is at it, or a new one.
function operations.fit(id, name, request, keep_ms, max_queued)
  local other = redis.call('HGET', fits_of(TENANT), name)
  if other and is_fitting(name, other) then return {'created', other} end
  local refusal = full(TENANT, max_queued)
  if refusal then return {'full', refusal} end
  add(id, TENANT, request, keep_ms, 'kind', 'density_model')
  redis.call('HSET', fits_of(TENANT), name, id)
  return {'created', id}
end
