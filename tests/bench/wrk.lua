-- Asks for the keys of a file, each with a value of its own, compares every body with the value of the key that it begins
-- with, byte for byte, and tells what it saw as one line of JSON.
--   BENCH_KEYS   a file with one key per line, the most popular one first
--   BENCH_MIX    uniform | zipf (exponent 1.0 over the order of the file) | once (one thread: every key, in order)
--   BENCH_NODES  host:port,...: one per thread; without it all threads ask the host of the URL
--   BENCH_PATH   what stands before the key
--   BENCH_SEED   a number of its own for each turn
--   BENCH_REQUESTS  so many answers of a thread are the end of its work; without it there is no end but SIGINT
-- It ends by SIGINT only. wrk ignores that until every thread has begun, and says "Running" from then on. A thread says
-- "BENCH finished" on standard error at the end of its work, if that has one (as that of `once` has).
local ffi = require("ffi")
ffi.cdef("int memcmp(const void *, const void *, size_t);")
local value_bytes = 1024
local mix = os.getenv("BENCH_MIX")
local threads = {}

-- Into a pipe the C library would keep what wrk says until its end.
io.stdout:setvbuf("line")

function setup(thread)
  local nodes = {}
  for node in string.gmatch(os.getenv("BENCH_NODES") or "", "[^,]+") do nodes[#nodes + 1] = node end
  if #nodes > 0 then
    local host, port = string.match(nodes[#threads % #nodes + 1], "^(.*):(%d+)$")
    thread.addr = wrk.lookup(host, port)[1]
  end
  thread:set("seed", 7919 * (1000 * os.getenv("BENCH_SEED") + #threads))
  threads[#threads + 1] = thread
end

local text, starts, count = "", nil, 0
local requests = {}
-- The keys asked for so far. In `once`, those of them that are still to be answered.
local known, missing, missing_count = {}, {}, 0
local cumulated
checked, wrong = 0, 0

-- Threads begin one by one, each as soon as its `init` is over: what the first ones do while later ones are made counts,
-- too. So this only looks where keys begin (4 ms for 100,000 of them), and requests are made when they are first wanted.
function init(_)
  math.randomseed(seed)
  local file = assert(io.open(os.getenv("BENCH_KEYS"), "rb"))
  text = file:read("*a")
  file:close()
  starts = ffi.new("int32_t[?]", #text + 1)
  local at = 1
  while at <= #text do
    starts[count] = at
    count = count + 1
    at = string.find(text, "\n", at, true) + 1
  end
  starts[count] = at
  missing_count = count
  if mix ~= "zipf" then return end
  cumulated = ffi.new("double[?]", count)
  local sum = 0
  for i = 0, count - 1 do
    sum = sum + 1 / (i + 1)
    cumulated[i] = sum
  end
end

local path = os.getenv("BENCH_PATH")
local function request_of(key)
  return "GET " .. path .. key .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
end

local function request_at(index)
  local found = requests[index]
  if found ~= nil then return found end
  local key = string.sub(text, starts[index], starts[index + 1] - 2)
  known[key] = true
  found = request_of(key)
  requests[index] = found
  return found
end

local function zipf()
  local wanted = math.random() * cumulated[count - 1]
  local low, high = 0, count - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if cumulated[middle] > wanted then high = middle else low = middle + 1 end
  end
  return low
end

local asked = 0
local function once()
  -- With the last answers on their way a free connection asks for one of their keys once more: it must ask for something.
  if asked == count then return request_of(next(missing) or string.sub(text, 1, starts[1] - 2)) end
  local key = string.sub(text, starts[asked], starts[asked + 1] - 2)
  asked = asked + 1
  known[key] = true
  missing[key] = true
  return request_of(key)
end

if mix == "once" then
  request = once
elseif mix == "zipf" then
  function request() return request_at(zipf()) end
else
  function request() return request_at(math.random(count) - 1) end
end

-- The value of a key is the key and a bar, over and over. So a body is one when it begins with a key that was asked for and
-- a bar, and is equal in every byte to itself moved by that much. @return the key
--
-- A body that was right once is found again by its string, which costs next to nothing, but keeps it in memory.
local right, remembered, max_remembered = {}, 0, 2000
local function key_of(body)
  if right[body] then return right[body] end
  local period = string.find(body, "|", 1, true)
  if period == nil or #body ~= value_bytes then return nil end
  local key = string.sub(body, 1, period - 1)
  if not known[key] then return nil end
  local bytes = ffi.cast("const char *", body)
  if ffi.C.memcmp(bytes, bytes + period, value_bytes - period) ~= 0 then return nil end
  if remembered < max_remembered then
    remembered = remembered + 1
    right[body] = key
  end
  return key
end

local function finish()
  io.stderr:write("BENCH finished\n")
  wrk.thread:stop()
end

local wanted = tonumber(os.getenv("BENCH_REQUESTS"))
function response(status, _, body)
  checked = checked + 1
  if checked == wanted then finish() end
  local key = key_of(body)
  if status ~= 200 or key == nil then
    wrong = wrong + 1
  elseif missing[key] then
    missing[key] = nil
    missing_count = missing_count - 1
    if missing_count == 0 then finish() end
  end
end
function done(summary, latency)
  local all_checked, all_wrong = 0, 0
  for _, thread in ipairs(threads) do
    all_checked = all_checked + thread:get("checked")
    all_wrong = all_wrong + thread:get("wrong")
  end
  local errors = summary.errors
  io.write(string.format(
    '\nBENCH {"requests":%d,"micros":%d,"bytes":%d,"p50Micros":%d,"p99Micros":%d,"maxMicros":%d,"checked":%d,"wrong":%d,' ..
      '"failed":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
    all_checked, all_wrong, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
