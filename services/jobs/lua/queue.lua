-- Which job is next. A job waits in QUEUE, by the time of its submission, shifted by its priority: whatever is
-- submitted HEAD_START or more later than another one's shifted time starts after it, so that nothing starves.
-- A tenant that may run n jobs at once has n slots, each a job that runs or is in QUEUE; its others are in HELD.

local HEAD_START = {high = 600e6, normal = 0, low = -600e6}  -- µs
local MEASURED = 100     -- the last jobs, for the estimate
local PICKUP_MS = 500    -- in which a free worker takes a job, nearly always
local WORKER_MS = 60000  -- how long a silent worker still counts

local function limit_of(tenant, name)
  local value = redis.call('HGET', limits_of(tenant), name)
  return value and tonumber(value)
end

-- Have as many hints lie there as jobs, up to BATCH, which keep any number of workers busy: a claim gives new ones.
local function give_hints()
  for _ = redis.call('LLEN', HINTS) + 1, math.min(BATCH, redis.call('ZCARD', QUEUE)) do
    redis.call('LPUSH', HINTS, table.concat(HINT, 'hint-' .. redis.call('INCR', HINT_IDS)))
  end
end

-- Of the tenant's slots, those without a job that runs; and those without any, below 0 where a limit is new.
local function idle_slots(tenant)
  local function size(status) return redis.call('ZCARD', status_of(tenant, status)) end
  local running = limit_of(tenant, 'running')
  return running and running - size('running') - size('canceling') or math.huge
end

local function free_slots(tenant) return idle_slots(tenant) - redis.call('ZCARD', entered(tenant)) end

local function let_in(id, tenant, turn)
  redis.call('ZREM', HELD, id)
  redis.call('ZREM', held(tenant), id)
  redis.call('ZADD', QUEUE, turn, id)
  redis.call('ZADD', entered(tenant), turn, id)
  give_hints()
end

local function hold(id, tenant, turn)
  redis.call('ZREM', QUEUE, id)
  redis.call('ZREM', entered(tenant), id)
  redis.call('ZADD', HELD, turn, id)
  redis.call('ZADD', held(tenant), turn, id)
end

-- Let jobs in that are held, as far as there are slots.
local function admit(tenant)
  for _, id in ipairs(redis.call('ZRANGE', held(tenant), 0, BATCH - 1)) do
    if free_slots(tenant) < 1 then return end
    let_in(id, tenant, field(id, 'turn'))
  end
end

-- Hold jobs that are in the queue and have no slot, those first whose turn comes last.
local function hold_back(tenant)
  local over = math.min(-free_slots(tenant), BATCH)
  if over < 1 then return end
  for _, id in ipairs(redis.call('ZREVRANGE', entered(tenant), 0, over - 1)) do hold(id, tenant, field(id, 'turn')) end
end

-- Jobs that come in one call, with one time, go in order, too.
local function new_turn(priority)
  memo.turns = (memo.turns or 0) + 1
  return string.format('%.0f', time[1] * 1e6 + time[2] + memo.turns - HEAD_START[priority])
end

-- Have the job wait for its turn, which it keeps when it comes again.
local function enqueue(id, tenant, turn, priority, since)
  redis.call('ZADD', waiting(priority), since, id)
  local place = free_slots(tenant) > 0 and let_in or hold
  place(id, tenant, turn)
end

-- The job runs, or waits no more.
local function dequeue(id, tenant)
  redis.call('ZREM', waiting(field(id, 'priority')), id)
  redis.call('ZREM', QUEUE, id)
  redis.call('ZREM', entered(tenant), id)
  redis.call('ZREM', HELD, id)
  redis.call('ZREM', held(tenant), id)
end

-- The job neither waits nor runs any more: its tenant's next one may.
local function release(id, tenant)
  dequeue(id, tenant)
  admit(tenant)
end

local function quantile(sorted, q)
  local place = 1 + q * (#sorted - 1)
  local low = math.floor(place)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (place - low) * (sorted[high] - sorted[low])
end

-- When the workers are free, if each job takes `ms`; ascending.
local function free_times(workers, ms)
  local running = redis.call('ZRANGE', LEASES, 0, workers - 1)
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
  local workers = redis.call('ZCOUNT', WORKERS, now - WORKER_MS, '+inf')
  local durations = redis.call('LRANGE', DURATIONS, 0, -1)
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
  local rank = redis.call('ZRANK', QUEUE, id)
  if not rank then
    rank = redis.call('ZRANK', HELD, id)
    rank = rank and rank + redis.call('ZCARD', QUEUE)
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
  redis.call('LPUSH', DURATIONS, ms)
  redis.call('LTRIM', DURATIONS, 0, MEASURED - 1)
end

-- Jobs that a worker could take now.
function reads.waiting() return redis.call('ZCARD', QUEUE) end
