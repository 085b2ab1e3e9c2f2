-- Which job is next. A job waits in `queue`, by the time of its submission, shifted by its priority: whatever is
-- submitted HEAD_START or more later than another one's shifted time starts after it, so that nothing starves.
-- A tenant that may run n jobs at once has n slots, each a job that runs or is in `queue`; its others are `held`.

local HINTS = '{rarebit}.run'
local HEAD_START = {high = 600e6, normal = 0, low = -600e6}  -- µs
local DURATIONS = 100    -- of the last jobs, for the estimate
local PICKUP_MS = 500    -- in which a free worker takes a job, nearly always
local WORKER_MS = 60000  -- how long a silent worker still counts

local function waiting(priority) return P .. 'waiting:' .. priority end  -- by the time of submission
local function held(tenant) return P .. 'held:' .. tenant end
local function slots(tenant) return P .. 'slots:' .. tenant end
local function limit(tenant, name)
  local value = redis.call('HGET', P .. 'tenant:' .. tenant, name)
  return value and tonumber(value)
end

-- Have as many hints lie there as jobs, up to BATCH, which keep any number of workers busy: a claim gives new ones.
local function give_hints()
  for _ = redis.call('LLEN', HINTS) + 1, math.min(BATCH, redis.call('ZCARD', P .. 'queue')) do
    redis.call('LPUSH', HINTS, table.concat(HINT, 'hint-' .. redis.call('INCR', P .. 'hints')))
  end
end

local function has_slot(tenant)
  local running = limit(tenant, 'running')
  return not running or redis.call('SCARD', slots(tenant)) < running
end

local function let_in(id, turn)
  redis.call('ZADD', P .. 'queue', turn, id)
  give_hints()
end

-- Let jobs in that are held, as far as there are slots.
local function admit(tenant)
  while has_slot(tenant) do
    local id = redis.call('ZRANGE', held(tenant), 0, 0)[1]
    if not id then return end
    redis.call('ZREM', P .. 'held', id)
    redis.call('ZREM', held(tenant), id)
    if limit(tenant, 'running') then redis.call('SADD', slots(tenant), id) end
    let_in(id, field(id, 'turn'))
  end
end

-- Jobs that come in one call, with one time, go in order, too.
local function new_turn(priority)
  memo.turns = (memo.turns or 0) + 1
  return string.format('%.0f', time[1] * 1e6 + time[2] + memo.turns - HEAD_START[priority])
end

-- Have the job wait for its turn, which it keeps when it comes again.
local function enqueue(id, tenant, turn, priority, since)
  redis.call('ZADD', waiting(priority), since, id)
  if not limit(tenant, 'running') then return let_in(id, turn) end
  if redis.call('SISMEMBER', slots(tenant), id) == 1 or has_slot(tenant) then
    redis.call('SADD', slots(tenant), id)
    return let_in(id, turn)
  end
  redis.call('ZADD', P .. 'held', turn, id)
  redis.call('ZADD', held(tenant), turn, id)
end

-- The job runs, or waits no more.
local function dequeue(id, tenant)
  redis.call('ZREM', waiting(field(id, 'priority')), id)
  redis.call('ZREM', P .. 'queue', id)
  redis.call('ZREM', P .. 'held', id)
  redis.call('ZREM', held(tenant), id)
end

-- The job neither waits nor runs any more: its tenant's next one may.
local function release(id, tenant)
  dequeue(id, tenant)
  if redis.call('SREM', slots(tenant), id) == 1 then admit(tenant) end
end

local function quantile(sorted, q)
  local place = 1 + q * (#sorted - 1)
  local low = math.floor(place)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (place - low) * (sorted[high] - sorted[low])
end

-- When the workers are free, if each job takes `ms`; ascending.
local function free_times(workers, ms)
  local running = redis.call('ZRANGE', P .. 'leases', 0, workers - 1)
  local free = {}
  for _, id in ipairs(running) do
    table.insert(free, math.max(0, ms - (now - (field(id, 'started_at') or now))))
  end
  while #free < workers do table.insert(free, 0) end
  table.sort(free)
  return free
end

-- What the last jobs took and when workers are free; false without workers or before anything was measured.
local function measured()
  local workers = redis.call('ZCOUNT', P .. 'workers', now - WORKER_MS, '+inf')
  local durations = redis.call('LRANGE', P .. 'durations', 0, -1)
  if workers == 0 or #durations < 2 then return false end
  for i, ms in ipairs(durations) do durations[i] = tonumber(ms) end
  table.sort(durations)
  local p50, p90 = quantile(durations, 0.5), quantile(durations, 0.9)
  return {p50 = p50, spread = p90 - p50, workers = workers, free = free_times(math.min(workers, BATCH), p50)}
end

-- Milliseconds until the job at `position` starts, as a median and a 90th percentile: it waits for a worker that is
-- free soonest, and for whole rounds of jobs before it; independent jobs' spreads add up as their root.
local function eta(position)
  if memo.measured == nil then memo.measured = measured() end
  local known = memo.measured
  if not known then return {} end
  local rounds = math.floor((position - 1) / known.workers)
  local first = known.free[math.min((position - 1) % known.workers + 1, #known.free)]
  local jobs = rounds + (first > 0 and 1 or 0)
  local p50 = first + rounds * known.p50
  return {math.floor(p50), math.floor(p50 + math.sqrt(jobs) * known.spread + PICKUP_MS)}
end

-- A waiting job's position, and when it starts.
local function place(id)
  local rank = redis.call('ZRANK', P .. 'queue', id)
  if not rank then
    rank = redis.call('ZRANK', P .. 'held', id)
    rank = rank and rank + redis.call('ZCARD', P .. 'queue')
  end
  if not rank then return nil end
  return {rank + 1, unpack(eta(rank + 1))}
end

-- Remember when the job should start at the latest, in nine cases of ten; `keep_promise` counts how it came out.
-- Answers with the job's place.
local function promise(id)
  local here = place(id)
  local p90 = here[3]
  if p90 then redis.call('HSET', job(id), 'promised_at', now + p90) end
  return here
end

local function keep_promise(id)
  local promised = field(id, 'promised_at')
  if not promised then return end
  redis.call('HDEL', job(id), 'promised_at')
  count('eta:promised')
  if now <= tonumber(promised) then count('eta:held') end
end

local function took(ms)
  redis.call('LPUSH', P .. 'durations', ms)
  redis.call('LTRIM', P .. 'durations', 0, DURATIONS - 1)
end

-- Jobs that a worker could take now.
function operations.waiting() return redis.call('ZCARD', P .. 'queue') end
