-- Asks for the keys of a file, each with a value of its own, compares every body with the value of the key that it begins
-- with, byte for byte, and tells what it saw as one line of JSON.
--   BENCH_KEYS   a file with one key per line, the most popular one first
--   BENCH_MIX    uniform | zipf (exponent 1.0 over the order of the file)
--   BENCH_NODES  host:port,...: one per thread; without it all threads ask the host of the URL
--   BENCH_PATH   what stands before the key
local ffi = require("ffi")
local value_bytes = 1024
local threads = {}

function setup(thread)
  local nodes = {}
  for node in string.gmatch(os.getenv("BENCH_NODES") or "", "[^,]+") do nodes[#nodes + 1] = node end
  if #nodes > 0 then
    local host, port = string.match(nodes[#threads % #nodes + 1], "^(.*):(%d+)$")
    thread.addr = wrk.lookup(host, port)[1]
  end
  thread:set("seed", 7919 * (#threads + 1))
  threads[#threads + 1] = thread
end

local requests = {}
local known = {}
local cumulated
checked, wrong = 0, 0

function init(_)
  math.randomseed(seed)
  local path = os.getenv("BENCH_PATH")
  for key in io.lines(os.getenv("BENCH_KEYS")) do
    requests[#requests + 1] = "GET " .. path .. key .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    known[key] = true
  end
  if os.getenv("BENCH_MIX") == "zipf" then
    cumulated = ffi.new("double[?]", #requests)
    local sum = 0
    for i = 0, #requests - 1 do
      sum = sum + 1 / (i + 1)
      cumulated[i] = sum
    end
  end
end

function request()
  if cumulated == nil then return requests[math.random(#requests)] end
  local wanted = math.random() * cumulated[#requests - 1]
  local low, high = 0, #requests - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if cumulated[middle] > wanted then high = middle else low = middle + 1 end
  end
  return requests[low + 1]
end

-- The values seen so far: a string found in a table is equal in every byte, and that look-up costs next to nothing (54,376
-- requests/s without and 53,451 with it, Bun on one core).
local right = {}
local remembered, max_remembered = 0, 20000

local function is_value(body)
  if right[body] then return true end
  local key = string.match(body, "^([^|]+)|")
  if key == nil or not known[key] then return false end
  if body ~= string.sub(string.rep(key .. "|", math.ceil(value_bytes / (#key + 1))), 1, value_bytes) then return false end
  if remembered < max_remembered then
    remembered = remembered + 1
    right[body] = true
  end
  return true
end

function response(status, _, body)
  checked = checked + 1
  if status ~= 200 or not is_value(body) then wrong = wrong + 1 end
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
