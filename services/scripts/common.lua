-- What the job store's scripts share: names, the clock, and who calls.
-- store.py makes one Redis function of them, reads the files in the order that it names, and puts three values before
-- them: TRANSITIONS (status -> allowed next ones), HINT (a Celery message, in the pieces between which its id stands) and
-- LATE (the result of a job that was not started in time).
-- Every key carries the hash tag {rarebit}, so that a cluster keeps them in one slot; times are the server's, in ms.

local P = '{rarebit}:'
local BATCH = 100

-- What holds for one call: the caller's tenant ('' where keys are off; names have no colon, so that no key is another
-- tenant's), the clock, and what the call has found out by now. The function stays in the server: each call begins anew.
local TENANT, time, now, memo

local function begin(tenant)
  TENANT, time, memo = tenant, redis.call('TIME'), {}
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function job(id) return P .. 'job:' .. id end
local function upload(id) return P .. 'upload:' .. id end
local function events(id) return P .. 'events:' .. id end
local function gone(prefix) return P .. 'gone:' .. prefix end
local function batch(id) return P .. 'batch:' .. id end
local function jobs_of(tenant) return P .. 'jobs:' .. tenant end
local function status_of(tenant, status) return P .. 'status:' .. tenant .. ':' .. status end

-- What expires is a prefix of the object store: storage.job_prefix and storage.upload_prefix.
local function outputs(id) return 'jobs/' .. id .. '/' end
local function picture(id) return 'uploads/' .. id .. '/' end

local function field(id, name) return redis.call('HGET', job(id), name) end
local function count(what) redis.call('HINCRBY', P .. 'counters', what, 1) end

-- The job's status if the caller may know of it.
local function visible(id)
  local status, tenant = unpack(redis.call('HMGET', job(id), 'status', 'tenant'))
  return status and tenant == TENANT and status
end

local operations = {}
