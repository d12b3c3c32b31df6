-- 64 combinations: 4 routes, 2 methods, 8 statuses.
local requests = {}
local n = 0

function init()
  for _, route in ipairs({ "a", "b", "c", "d" }) do
    for _, method in ipairs({ "GET", "POST" }) do
      for _, status in ipairs({ 200, 201, 202, 203, 205, 206, 207, 208 }) do
        requests[#requests + 1] = wrk.format(method, "/status/" .. status .. "/" .. route)
      end
    end
  end
end

function request()
  n = n % #requests + 1
  return requests[n]
end
