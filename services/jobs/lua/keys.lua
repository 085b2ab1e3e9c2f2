-- Every key of the job store in Redis; docs/lifetimes.md says whose each is and when it ends.
-- Every key carries the hash tag {rarebit}, so that a cluster keeps them in one slot. Tenants' names have no colon, so
-- that no key is another tenant's.

local P = '{rarebit}:'

-- A job's
local function job(id) return P .. 'job:' .. id end                -- its record
local function events(id) return P .. 'events:' .. id end
local function preview(id) return P .. 'preview:' .. id end        -- when it was shown, and its data
local function watched(id) return P .. 'watched:' .. id end        -- while somebody asks for previews
local function claimed_with(token) return P .. 'claim:' .. token end
local function gone(prefix) return P .. 'gone:' .. prefix end      -- a tombstone: whose the job or upload was

-- A batch's, an upload's, a found thing's
local function batch(id) return P .. 'batch:' .. id end
local function open_jobs(id) return P .. 'batch:' .. id .. ':open' end
local function upload(id) return P .. 'upload:' .. id end
local function found_thing(id) return P .. 'found:' .. id end

-- Jobs by what they are at, of all models
local STARTS, QUARANTINE = P .. 'starts', P .. 'quarantine'        -- by the latest start, by submission

-- A pool's: jobs and workers of one model. Those of DEFAULT are where all were before there were models.
local POOLS = P .. 'pools'                                         -- models but DEFAULT, by their last sign of life
local function pool(model) return model == DEFAULT and P or P .. 'pool:' .. model .. ':' end
local function queue(model) return pool(model) .. 'queue' end      -- by turn
local function all_held(model) return pool(model) .. 'held' end    -- by turn
local function leases(model) return pool(model) .. 'leases' end    -- by the lease's end
local function waiting(model, priority) return pool(model) .. 'waiting:' .. priority end   -- by submission, in ms
local function entered(model, tenant) return pool(model) .. 'entered:' .. tenant end       -- its jobs in the queue, by turn
local function held(model, tenant) return pool(model) .. 'held:' .. tenant end             -- its jobs in all_held, by turn
local function workers(model) return pool(model) .. 'workers' end  -- by their last sign of life
local function memory(model) return pool(model) .. 'memory' end    -- workers, by the share of their device's
local function served(model) return pool(model) .. 'served' end
local function durations(model) return pool(model) .. 'durations' end
local function counters(model) return pool(model) .. 'counters' end
local function hints(model) return model == DEFAULT and HINTS or HINTS .. '.' .. model end  -- as queue_of in queue.py

-- A tenant's
local KEYS = P .. 'keys'                                           -- of all tenants: key's id -> what is kept of it
local function limits_of(tenant) return P .. 'tenant:' .. tenant end
local function jobs_of(tenant) return P .. 'jobs:' .. tenant end   -- by submission, as those of a status
local function status_of(tenant, status) return P .. 'status:' .. tenant .. ':' .. status end
local function idempotency(tenant, key) return P .. 'spent:' .. tenant .. ':' .. key end
local function models_of(tenant) return P .. 'models:' .. tenant end             -- name -> what a worker says of it
local function model_order_of(tenant) return P .. 'models-order:' .. tenant end  -- names by their last use
local function fits_of(tenant) return P .. 'fits:' .. tenant end                 -- name -> the job that fits it
local function found_of(tenant) return P .. 'kept:' .. tenant end               -- by when they were kept
local function exposures_of(tenant) return P .. 'exposures:' .. tenant end       -- names by their last use
local function exposure(name) return P .. 'exposure:' .. name end          -- output -> view
local function order(name) return P .. 'exposure:' .. name .. ':order' end  -- outputs as they were seen

-- Webhooks
local DELIVERIES = P .. 'deliveries'                               -- that are pending, by their next attempt
local function delivery(id) return P .. 'delivery:' .. id end
local function attempts(id) return P .. 'delivery:' .. id .. ':attempts' end
local function deliveries_of(subject) return P .. 'deliveries:' .. subject end
local function disabled(tenant, url) return P .. 'disabled:' .. redis.sha1hex(tenant .. ' ' .. url) end

-- Objects
local EXPIRY = P .. 'expiry'          -- prefixes to be erased, by when
local AGAIN = P .. 'erased-again'     -- prefix -> when to erase it once more
local FAILURES = P .. 'not-erased'    -- prefix -> how often erasing it has failed
local DENSITIES = P .. 'densities'    -- of texts, by their last use

-- The service's, of fixed size
local SEQ, VIEWS, HINT_IDS = P .. 'seq', P .. 'views', P .. 'hints'

local function changed(id) return P .. 'changed:' .. id end  -- a channel

-- Prefixes of the object store, as services/objects/keys.py has them.
local function outputs(id) return JOBS .. id .. '/' end
local function outputs_of(id, attempt) return outputs(id) .. attempt .. '/' end
local function savepoints(id) return outputs(id) .. SAVEPOINTS end
local function picture(id) return UPLOADS .. id .. '/' end
local function found_objects(id) return FOUND .. id .. '/' end
