-- One atomic step over a convention's slots (article 4; C01). Whatever is asked, each call does, in this order:
--   1. late    it runs after its caller gave up, or this server's clock was set forward: nothing is done
--   2. nodes   the asking node is seen; the smallest cap and line that a live node knows are in force
--   3. lost    leases may be missing (emptied, restarted, failed over): nothing new is granted for one lease
--   4. sweep   lapsed leases go
--   5. release what the caller owes
--   6. what was asked
--
-- KEYS   leases (sorted set: slot by instant of lapse), records (hash: slot to JSON), epoch (hash),
--        nodes (hash: node to JSON), interconnection (string). Instants are this server's, in milliseconds.
-- ARGV   the request as JSON: op, node, cap, line? (kb/s), lease (ms), latest?, stepped?, release, slots
-- Reply  status, now, hold left (ms), slots in use, cap in force, interconnection, rows

local LEASES, RECORDS, EPOCH, NODES, INTERCONNECTION = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ask = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lapse = now + ask.lease

if ask.latest and now > ask.latest then
  return {'late', now}
end

-- Nodes ---------------------------------------------------------------------------------------------------------

if ask.op == 'open' then
  redis.call('DEL', LEASES, RECORDS, NODES)
end

local cap, line = ask.cap, ask.line or math.huge
local seen = redis.call('HGETALL', NODES)
for i = 1, #seen, 2 do
  local node = cjson.decode(seen[i + 1])
  -- No node was seen later than now: this clock was set back.
  node.lapse = math.min(node.lapse, now + node.lease)
  if node.lapse <= now then
    redis.call('HDEL', NODES, seen[i])
  elseif seen[i] ~= ask.node then
    redis.call('HSET', NODES, seen[i], cjson.encode(node))
    if node.lease ~= ask.lease then
      return {'disagreed', now}
    end
    cap, line = math.min(cap, node.cap), math.min(line, node.line or math.huge)
  end
end
redis.call('HSET', NODES, ask.node, cjson.encode({cap = ask.cap, line = ask.line, lease = ask.lease, lapse = lapse}))

-- Lost ----------------------------------------------------------------------------------------------------------

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not run or not history then
  return redis.error_reply('ERR this server does not tell its run_id and master_replid: its losses cannot be seen')
end
local server = run .. ':' .. history
local epoch = redis.call('HMGET', EPOCH, 'server', 'leases', 'hold_until')
local counted = redis.call('ZCARD', LEASES)
local lost = epoch[1] ~= server or tonumber(epoch[2]) ~= counted or redis.call('HLEN', RECORDS) ~= counted
local hold_until = tonumber(epoch[3] or 0)
if ask.op == 'open' then
  hold_until = 0
elseif lost or ask.stepped then
  hold_until = lapse
end
hold_until = math.min(hold_until, lapse)
local holding = hold_until > now

-- Sweep ---------------------------------------------------------------------------------------------------------

local records = {}
local in_use = 0

local function put(slot, record)
  if not records[slot] then
    in_use = in_use + 1
  end
  records[slot] = record
  redis.call('ZADD', LEASES, lapse, slot)
  redis.call('HSET', RECORDS, slot, cjson.encode(record))
end

local function drop(slot)
  if records[slot] then
    in_use = in_use - 1
  end
  records[slot] = nil
  redis.call('ZREM', LEASES, slot)
  redis.call('HDEL', RECORDS, slot)
end

-- A record's formers are the nodes that had the slot before, by the instant until which each may still deliver.
local function keep_formers(record)
  local latest
  for node, at in pairs(record.formers or {}) do
    at = math.min(at, lapse)
    record.formers[node] = at > now and at or nil
    if at > now then
      latest = math.max(latest or 0, at)
    end
  end
  if not latest then
    record.formers = nil
  end
  return latest
end

-- A slot that is given back while a former node may still deliver stays taken, by nobody, until that one has let go.
local function give_back(slot)
  local record = records[slot]
  local latest = keep_formers(record)
  if not latest then
    drop(slot)
    return
  end
  record.node, record.term = '', record.term + 1
  redis.call('ZADD', LEASES, latest, slot)
  redis.call('HSET', RECORDS, slot, cjson.encode(record))
end

local stored = redis.call('HGETALL', RECORDS)
for i = 1, #stored, 2 do
  records[stored[i]] = cjson.decode(stored[i + 1])
  in_use = in_use + 1
end
local leased = {}
local ranked = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
for i = 1, #ranked, 2 do
  local slot, at = ranked[i], tonumber(ranked[i + 1])
  leased[slot] = true
  if at <= now or not records[slot] then
    drop(slot)
  elseif at > lapse then
    redis.call('ZADD', LEASES, lapse, slot)
  end
end
for i = 1, #stored, 2 do
  if not leased[stored[i]] then
    drop(stored[i])
  end
end

-- Release -------------------------------------------------------------------------------------------------------

for _, slot in ipairs(ask.release) do
  if records[slot] and records[slot].node == ask.node then
    give_back(slot)
  end
end

-- What was asked ------------------------------------------------------------------------------------------------

local function granted(slot)
  local record = records[slot]
  return {record.term, record.since, record.holder}
end

-- A lease that the store has lost is put back only while nothing is granted, and only where there is room.
local function put_back(mine)
  put(mine.slot, {node = ask.node, term = mine.term, since = mine.since, holder = mine.holder, kbps = mine.kbps})
end

local function listed()
  local rows = {}
  local order = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
  for i = 1, #order, 2 do
    local record = records[order[i]]
    rows[#rows + 1] = {order[i], record.node, record.since, tonumber(order[i + 1]) - now, record.holder}
  end
  return rows
end

-- What all streams take of the line, in kb/s.
local function taken()
  local kbps = 0
  for _, record in pairs(records) do
    kbps = kbps + (record.kbps or 0)
  end
  return kbps
end

local ops = {}

function ops.acquire()
  local mine = ask.slots[1]
  local record = records[mine.slot]
  if record and (record.node ~= ask.node or keep_formers(record)) then
    return 'elsewhere', {}
  elseif record then
    record.holder = mine.holder
    put(mine.slot, record)
  elseif holding and (mine.term == 0 or in_use >= cap) then
    return 'held back', {}
  elseif in_use >= cap then
    return 'full', listed()
  elseif holding then
    put_back(mine)
  elseif taken() + mine.kbps > line then
    return 'line full', {taken(), line}
  else
    put(mine.slot, {node = ask.node, term = 1, since = now, holder = mine.holder, kbps = mine.kbps})
  end
  return 'granted', granted(mine.slot)
end

function ops.claim()
  local slot = ask.slots[1].slot
  local record = records[slot]
  if not record then
    return holding and 'held back' or 'absent', {}
  end
  record.formers = record.formers or {}
  if record.node ~= ask.node then
    if record.node ~= '' then
      record.formers[record.node] = tonumber(redis.call('ZSCORE', LEASES, slot))
    end
    record.formers[ask.node] = nil
    record.node, record.term = ask.node, record.term + 1
  end
  local latest = keep_formers(record)
  put(slot, record)
  if not latest then
    return 'granted', granted(slot)
  end
  local formers = {}
  for node in pairs(record.formers) do
    formers[#formers + 1] = node
  end
  return 'moving', {latest - now, formers}
end

function ops.let_go()
  local slot = ask.slots[1].slot
  local record = records[slot]
  if record and record.formers then
    record.formers[ask.node] = nil
    if record.node ~= '' then
      redis.call('HSET', RECORDS, slot, cjson.encode(record))
    else
      give_back(slot)
    end
  end
  return 'done', {}
end

function ops.renew()
  local verdicts = {}
  for i, mine in ipairs(ask.slots) do
    local record = records[mine.slot]
    if not record and not (holding and in_use < cap) then
      verdicts[i] = 'lost'
    elseif record and (record.term > mine.term or (record.term == mine.term and record.node ~= ask.node)) then
      verdicts[i] = 'moved'
    elseif record and record.term == mine.term then
      record.kbps = mine.kbps
      put(mine.slot, record)
      verdicts[i] = 'kept'
    else
      put_back(mine)
      verdicts[i] = 'kept'
    end
  end
  return 'done', verdicts
end

function ops.open()
  for _, mine in ipairs(ask.slots) do
    put_back(mine)
  end
  return 'done', {}
end

function ops.release()
  return 'done', {}
end

function ops.list()
  return 'done', listed()
end

local status, rows = ops[ask.op]()
redis.call('HSET', EPOCH, 'server', server, 'leases', in_use, 'hold_until', hold_until)
return {status, now, math.max(0, hold_until - now), in_use, cap, redis.call('GET', INTERCONNECTION) or '', rows}
