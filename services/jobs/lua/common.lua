-- What the job store's scripts share: the clock, who calls, and by which right an operation works.
-- store.py reads the files in the order that it names, and puts values before them: NAME (the library's), TRANSITIONS
-- (status -> allowed next ones), DEFAULT (the model of jobs that name none), HINTS (Celery's list of its pool), HINT (a
-- message, in the pieces between which its id stands; HINT-POOL in it is what other pools' lists have behind HINTS),
-- LATE (the result of a job that was not started in time), JOBS, UPLOADS, FOUND and SAVEPOINTS (parts of prefixes).
-- Times are the server's, in ms. No loop is longer than BATCH, or than a constant: Redis serves nobody else meanwhile.

local BATCH = 100

-- A Redis at its maxmemory serves what reads, and what frees memory or has accepted work go on to its end; it refuses
-- what takes something in.
local reads, frees, writes = {}, {}, {}

-- What holds for one call: the caller's tenant ('' where keys are off), the clock, and what the call has found out by
-- now. The function stays in the server: each call begins anew.
local TENANT, time, now, memo

local function begin(tenant, may_write)
  TENANT, time, memo = tenant, redis.call('TIME'), {may_write = may_write, late = {}, measured = {}}
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function field(id, name) return redis.call('HGET', job(id), name) end
local function model_of(id) return field(id, 'model') or DEFAULT end
local function count(model, what, number) redis.call('HINCRBY', counters(model), what, number or 1) end

-- The models that somebody has served or asked for.
local function pools()
  if not memo.pools then memo.pools = {DEFAULT, unpack(redis.call('ZRANGE', POOLS, 0, BATCH - 1))} end
  return memo.pools
end

local function know(model)
  if model ~= DEFAULT then redis.call('ZADD', POOLS, now, model) end
  memo.pools = nil
end

-- The job's status if the caller may know of it.
local function visible(id)
  local status, tenant = unpack(redis.call('HMGET', job(id), 'status', 'tenant'))
  return status and tenant == TENANT and status
end

-- The lowest members of a sorted set that holds more than `most`.
local function beyond(set, most)
  local over = math.min(redis.call('ZCARD', set) - most, BATCH)
  return over > 0 and redis.call('ZRANGE', set, 0, over - 1) or {}
end
