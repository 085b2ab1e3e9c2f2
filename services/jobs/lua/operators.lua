-- What operators see of all tenants, in parts: `first` counts from 0, and no part is longer than BATCH.

local LISTS = {running = LEASES, queued = QUEUE, held = HELD, quarantined = QUARANTINE}

local function part(set, first, ...)
  return redis.call('ZRANGE', set, first, first + BATCH - 1, ...)
end

-- Brief views of the jobs that are at this.
function reads.jobs_at(what, first)
  local views = {}
  for _, id in ipairs(part(LISTS[what], first)) do table.insert(views, brief(id)) end
  return views
end

-- Workers, each followed by the milliseconds since its last sign of life; the silent ones first.
function reads.workers(first)
  local all = part(WORKERS, first, 'WITHSCORES')
  for i = 2, #all, 2 do all[i] = now - all[i] end
  return all
end

-- The stored densities of texts, or those about to be, each followed by the time of its last use.
function reads.densities(first) return part(DENSITIES, first, 'WITHSCORES') end
